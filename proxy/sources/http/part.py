"""A part of an item at an HTTP origin, asked for by itself.

Owns what makes a reply fit for that: the very range, of the version that the other parts are
of. Whatever else comes is not read: it would be the whole item, once for each part.
"""

from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from typing import Protocol

from proxy.sources.document import Validators
from proxy.sources.errors import OriginGarbled, OriginMisbehaved, OriginUnreachable, PageSent, PartsRefused
from proxy.sources.freshness import Freshness
from proxy.sources.http.errors import OriginStatus
from proxy.sources.http.reply import Reply
from proxy.sources.http.statuses import RANGE_REFUSED
from proxy.sources.origin import ItemOptions

PAGE = "; it is an HTML page: does it want a login, or allow no further connection?"


class PartOpener(Protocol):
    """Asks the origin for a part of the item."""

    def __call__(
        self, *, offset: int, stop: int, version: Validators, freshness: Freshness, avoided: Collection[str]
    ) -> AbstractAsyncContextManager[Reply]:
        """Return the context of one reply."""


class Versions:
    """Which version of one item each place gave: mirrors behind a redirector call it differently."""

    def __init__(self) -> None:
        self._known: dict[str, Validators] = {}

    @property
    def are_known(self) -> bool:
        """Whether anything of the item has come."""
        return bool(self._known)

    def of_origin(self) -> Validators:
        """Return the version that the origin gave itself; nothing is known of where it may redirect to."""
        return self._known.get("", Validators()) if self._known.keys() <= {""} else Validators()

    def note(self, reply: Reply) -> None:
        """Take note of the version that a reply is of."""
        self._known[reply.place] = reply.version

    def agrees(self, reply: Reply) -> bool:
        """Whether a reply is of the version that came from the same place before, as far as both say."""
        before = self._known.setdefault(reply.place, reply.version)
        return all(
            one is None or other is None or one == other
            for one, other in (
                (before.etag, reply.version.etag),
                (before.last_modified, reply.version.last_modified),
            )
        )


class HttpPart:
    """The bytes of [start, stop) of one item at one HTTP origin."""

    def __init__(
        self,
        name: str,
        item_bytes: int,
        start: int,
        stop: int,
        options: ItemOptions,
        versions: Versions,
        open_reply: PartOpener,
        border: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._name = name
        self._item_bytes = item_bytes
        self._start = start
        self._stop = stop
        self._options = options
        self._versions = versions
        self._open = open_reply
        self._border = border
        self.place = ""
        """The URL that the origin has redirected to for it, "" if it gave it itself."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield its bytes, each once and in order. Raises OriginError."""
        try:
            with self._border():
                async with aclosing(self._chunks()) as chunks:
                    async for chunk in chunks:
                        yield chunk
        except OriginStatus as error:
            if error.status in RANGE_REFUSED:
                raise PartsRefused(self._name, error.problem) from error
            raise
        except (PartsRefused, OriginGarbled):
            raise
        except OriginMisbehaved as error:
            # It makes sense as HTTP, but not as an answer to what was asked.
            raise PartsRefused(self._name, error.problem) from error

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        options, position = self._options, self._start
        async with self._open(
            offset=self._start,
            stop=self._stop,
            version=self._versions.of_origin(),
            freshness=options.freshness,
            avoided=options.avoided,
        ) as reply:
            self.place = reply.place
            self._check(reply)
            parts = reply.chunks(is_replaceable=options.is_replaceable, flow=options.flow)
            async with aclosing(parts) as chunks:
                async for chunk in chunks:
                    position += len(chunk)
                    if position > self._stop:
                        raise self._refused("it sends more than that")
                    yield chunk
        if position < self._stop:
            raise OriginUnreachable(self._name, f"its answer ended early, at {position} bytes")

    def _check(self, reply: Reply) -> None:
        """Raise PageSent or PartsRefused unless a reply is what was asked for."""
        if reply.is_page and not reply.is_part and reply.total != self._item_bytes:
            raise PageSent(self._name, self._item_bytes, reply.total, place=reply.place, remarks=PAGE)
        if not self._versions.agrees(reply):
            raise self._refused("it has another version by now")
        if not reply.is_part:
            raise self._refused("it sends all of the item")
        if reply.start != self._start or reply.length_bytes not in {None, self._stop - self._start}:
            raise self._refused("it sends another part")
        if reply.total not in {None, self._item_bytes}:
            raise self._refused(f"it says that the whole has {reply.total} bytes")
        if reply.codings:
            raise self._refused("it encodes what it sends")

    def _refused(self, problem: str) -> PartsRefused:
        return PartsRefused(self._name, f"asked for a part of an item, {problem}")

"""An item's bytes in order, whatever happens to the origins on the way.

Owns resuming, failing over and giving up. Knows nothing of digests or files:
who pulls checks what arrives.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from proxy.errors import ProxyError
from proxy.sources.backoff import pauses_s
from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginHungUp,
    OriginMisbehaved,
    OriginUnreachable,
)
from proxy.sources.freshness import Freshness
from proxy.sources.http.following import redirected
from proxy.sources.http.origin import Origin
from proxy.sources.http.reply import Reply
from proxy.sources.http.socket_body import SocketBody
from proxy.sources.options import UpstreamOptions
from proxy.sources.route import Route

log = logging.getLogger(__name__)

_TRIES_WHILE_FORBIDDEN = 2
_FORBIDDEN_PAUSE_S = 2.0
"""Whoever lets only so many through a second may think otherwise after that."""

_TRIES_FROM_ONE = 3
"""How often an origin is asked on, while another could be asked for the whole."""


class ItemAbsent(ProxyError):
    """Every origin says that it does not have the item."""

    def __init__(self, path: str) -> None:
        super().__init__(f"no origin has {path}")
        self.path = path


class ItemUnobtainable(ProxyError):
    """The origins failed for so long that waiting makes no sense any more."""

    def __init__(self, path: str, last: OriginError | None) -> None:
        super().__init__(f"{path} cannot be had now; last: {last}")
        self.path = path
        self.last = last


class ItemForbidden(ItemUnobtainable):
    """Every origin that may have the item answers 403, or does not have it."""

    def __init__(self, path: str, last: OriginError) -> None:
        super().__init__(path, last)
        self.args = (f"no origin gives {path}: {last}. Object stores say so for what they do not have",)


class WrongCopy(OriginError):
    """An origin whose copy of an item is not what the signed list says."""

    place: str = ""
    """Where the origin had redirected to, if anywhere."""


class WrongLength(WrongCopy):
    """An origin whose copy is longer or shorter than the signed list says."""

    def __init__(self, origin: str, expected_bytes: int, actual_bytes: int, reply: Reply) -> None:
        problem = f"its copy has {actual_bytes} bytes, the list says {expected_bytes}"
        if reply.codings:
            problem += f"; it came encoded as {', '.join(reply.codings)}, which nobody asked for"
        if reply.is_page:
            problem += "; it is an HTML page: does it want a login?"
        super().__init__(origin, problem + redirected(reply.place))
        self.place = reply.place
        self.is_page = reply.is_page


class Source(NamedTuple):
    """Where an item can be had: a mirror's origins, and the item's path there."""

    route: Route
    path: str
    turn: int = 0
    """With which origin to begin, where all are used alike."""


class Part(NamedTuple):
    """The bytes of [start, stop), and the name of the origin that sent them."""

    origin: str
    start: int
    stop: int
    place: str = ""
    """The URL that it had redirected to, if any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubts:
    """What speaks against an item's origins."""

    wrong_at: Mapping[str, str] = field(default_factory=dict)
    """The origins whose copy was found wrong a short while ago, and how; they are not asked.

    Or the URLs that they had redirected to: those are not followed.
    """
    is_mixed: bool = False
    """Whether several origins' bytes together were wrong: now all have to come from one."""
    is_suspect: bool = False
    """Whether wrong bytes came before: a cache on the way may keep those."""


class _Candidate(NamedTuple):
    origin: Origin
    source: Source


class Pull:
    """One item's way from its sources to us, from `offset` on.

    Iterate over `pieces()`. Sources may be added meanwhile. `parts` says whose
    bytes were used, `wrong_lengths` whose copy has another size.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        size_bytes: int,
        offset: int,
        options: UpstreamOptions,
        random: Random,
        doubts: Doubts,
    ) -> None:
        self._sources = sources
        self._size_bytes = size_bytes
        self._offset = offset
        self._options = options
        self._random = random
        self._doubts = doubts
        self._useless: dict[tuple[Origin, str], OriginError] = {}
        self._tries_from_start = _TriesFromStart()
        self._forbidden = _Forbidden()
        self._put_off: set[_Candidate] = set()
        """Who is asked once more only when others have failed."""
        self._bad_places: set[str] = set()
        """Where redirects have led to copies of another size."""
        self.parts: list[Part] = []
        self.first_byte_within_s = options.give_up_after_s
        """A pull without a single byte fails after so long."""
        self.after_vain_round: Callable[[OriginError], Awaitable[None]] = _do_nothing
        """Told each time that all origins have failed one after the other, with the last one's problem."""

    @property
    def contributors(self) -> set[str]:
        """The names of the origins whose bytes were used."""
        return {part.origin for part in self.parts}

    @property
    def wrong_lengths(self) -> list[WrongLength]:
        """What was found out about copies of another size."""
        return [error for error in self._useless.values() if isinstance(error, WrongLength)]

    def absent_at(self, path: str) -> set[str]:
        """Return the names of the origins that say that they have nothing at a path."""
        return {
            origin.name
            for (origin, asked), error in self._useless.items()
            if asked == path and isinstance(error, OriginAbsent)
        }

    async def pieces(self) -> AsyncGenerator[bytes | SocketBody, None]:
        """Yield the bytes from the offset to the end, in order, each once.

        A SocketBody stands for the next ones: they are to be received from it before the next piece is
        asked for.

        Raises ItemAbsent when all origins lack it, WrongCopy when all that have it have a wrong one,
        ItemForbidden when all that may have it answer 403, ItemUnobtainable when no byte arrived for
        `give_up_after_s`, or when the one origin whose bytes may be used ceases.
        """
        loop = asyncio.get_running_loop()
        pauses = pauses_s(self._random)
        last: OriginError | None = None
        progress_at = loop.time()
        vain_tries = 0
        while self._offset < self._size_bytes:
            for candidate in self._candidates():
                before = self._offset
                try:
                    async with aclosing(self._transfer(candidate)) as pieces:
                        with candidate.origin.border():
                            async for piece in pieces:
                                yield piece
                except OriginError as error:
                    last = error
                    self._note(candidate, error, has_begun=self._offset > before)
                else:
                    candidate.source.route.worked(candidate.origin)
                    return
                vain_tries += 1
                if self._offset > before:
                    progress_at = loop.time()
                    pauses = pauses_s(self._random)
                    vain_tries = 0
                    if self._doubts.is_mixed or self._is_whole:
                        break
            if self._is_whole or not self._able():
                # Nothing is missing, but for the end of an answer; or all have spoken: no talk of patience.
                continue
            silence_s = loop.time() - progress_at
            self._check_hope(last, vain_tries, silence_s)
            if last is not None and vain_tries:
                await self.after_vain_round(last)
            pause_s = max(next(pauses), self._forbidden.pause_s(self._able()))
            await asyncio.sleep(min(pause_s, max(0.0, self._patience_s - silence_s)))

    def _check_hope(self, last: OriginError | None, vain_tries: int, silence_s: float) -> None:
        """Raise ItemForbidden or ItemUnobtainable when asking on makes no sense."""
        if last is not None and self._forbidden.is_final(self._able()):
            raise ItemForbidden(self._sources[0].path, last)
        is_hopeless = self._is_tied and vain_tries >= _TRIES_FROM_ONE
        if is_hopeless or silence_s >= self._patience_s:
            raise ItemUnobtainable(self._sources[0].path, last)

    @property
    def _is_whole(self) -> bool:
        return self._offset == self._size_bytes

    @property
    def _patience_s(self) -> float:
        return self._options.give_up_after_s if self.parts else self.first_byte_within_s

    def _candidates(self) -> list[_Candidate]:
        """Return whom to ask now, the best first. Raises ItemAbsent or WrongCopy when there is nobody."""
        able = self._able()
        if able:
            mine = [one for one in able if one.origin.name in self.contributors]
            return mine if mine and self._doubts.is_mixed else able
        for error in self._useless.values():
            if isinstance(error, WrongCopy):
                raise error
        for name, problem in self._doubts.wrong_at.items():
            raise WrongCopy(name, problem)
        raise ItemAbsent(self._sources[0].path)

    def _able(self) -> list[_Candidate]:
        return [
            _Candidate(origin, source)
            for source in self._sources
            for origin in source.route.order(source.turn)
            if (origin, source.path) not in self._useless and origin.name not in self._doubts.wrong_at
        ]

    @property
    def _is_tied(self) -> bool:
        """Whether others could be asked, were it not for what has come already."""
        return (
            self._doubts.is_mixed
            and bool(self.parts)
            and any(one.origin.name not in self.contributors for one in self._able())
        )

    def _has_others(self, candidate: _Candidate) -> bool:
        return any(one.origin is not candidate.origin for one in self._candidates())

    async def _transfer(self, candidate: _Candidate) -> AsyncGenerator[bytes | SocketBody, None]:
        """Yield what one origin adds; skip what an origin without ranges repeats."""
        name = candidate.origin.name
        is_replaceable = self._has_others(candidate)
        offset = self._tries_from_start.offset(candidate, self._offset)
        freshness = Freshness.ANEW if self._doubts.is_suspect else Freshness.KEPT
        avoided = self._bad_places | self._doubts.wrong_at.keys()
        async with candidate.origin.open(
            candidate.source.path, avoided=avoided, offset=offset, freshness=freshness
        ) as reply:
            self._check_fits(name, reply, offset)
            self._check_not_put_off(candidate, reply)
            position = reply.start
            is_exact = position == self._offset and reply.length_bytes == self._size_bytes - position
            read = reply.pieces if is_exact else reply.chunks
            async with aclosing(read(is_replaceable=is_replaceable)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, SocketBody):
                        yield piece
                        position = self._size_bytes - piece.left_bytes
                        if position > self._offset:
                            self._take(name, self._offset, position, reply.place)
                        continue
                    fresh = piece[max(0, self._offset - position) :]
                    position += len(piece)
                    if position > self._size_bytes:
                        raise WrongLength(name, self._size_bytes, position, reply)
                    if fresh:
                        self._take(name, self._offset, position, reply.place)
                        yield fresh
            if position != self._size_bytes and reply.ends_for_sure:
                raise WrongLength(name, self._size_bytes, position, reply)
            if offset and position == reply.start:
                raise OriginMisbehaved(name, f"asked for bytes from {offset} on, it sent none")
            if position != self._size_bytes:
                raise OriginUnreachable(name, f"its answer ended early, at {position} bytes")

    def _check_fits(self, name: str, reply: Reply, offset: int) -> None:
        """Raise OriginMisbehaved or WrongLength when a reply's headers are not those of the item."""
        if offset and reply.is_unplaced:
            raise OriginMisbehaved(name, f"asked for bytes from {offset} on, it does not say what it sends")
        if reply.total is not None and reply.total != self._size_bytes:
            raise WrongLength(name, self._size_bytes, reply.total, reply)

    def _check_not_put_off(self, candidate: _Candidate, reply: Reply) -> None:
        """Raise OriginMisbehaved the first time that what others may have plain comes encoded, at any length.

        Often it is the item all the same: some say so of files that are compressed themselves.
        """
        is_doubtful = bool(reply.codings) and reply.length_bytes is None and self._has_others(candidate)
        if is_doubtful and candidate not in self._put_off:
            self._put_off.add(candidate)
            raise OriginMisbehaved(
                candidate.origin.name,
                f"it came encoded as {', '.join(reply.codings)}, which nobody asked for",
            )

    def _take(self, name: str, start: int, stop: int, place: str) -> None:
        if self.parts and (self.parts[-1].origin, self.parts[-1].place) == (name, place):
            start = self.parts.pop().start
        self.parts.append(Part(name, start, stop, place))
        self._offset = stop

    def _note(self, candidate: _Candidate, error: OriginError, *, has_begun: bool) -> None:
        """Decide whether an origin is of use once more."""
        log.warning("origin.failed path=%s problem=%s", candidate.source.path, error)
        is_range_to_blame = not has_begun and self._tries_from_start.note_vain_try(
            candidate, self._offset, error
        )
        # Who has sent a part and now answers with something else may be hidden by a login page.
        contradicts_itself = not has_begun and candidate.origin.name in self.contributors
        if is_range_to_blame:
            return
        if self._forbidden.note(candidate, error):
            return
        if isinstance(error, WrongLength) and error.place and error.place not in self._bad_places:
            # A redirector may choose another mirror the next time.
            self._bad_places.add(error.place)
            return
        if isinstance(error, OriginAbsent) or (isinstance(error, WrongCopy) and not contradicts_itself):
            self._useless[candidate.origin, candidate.source.path] = error
        else:
            candidate.source.route.failed(candidate.origin)


async def _do_nothing(_: OriginError) -> None:
    """Nobody wants to be told."""


class _Forbidden:
    """Who answers 403 for the item, which is about the item as far as anybody knows."""

    def __init__(self) -> None:
        self._in_a_row: dict[_Candidate, int] = {}

    def note(self, candidate: _Candidate, error: OriginError) -> bool:
        """Take note of a vain try; say whether it was forbidden."""
        if isinstance(error, OriginForbidden):
            self._in_a_row[candidate] = self._in_a_row.get(candidate, 0) + 1
            return True
        self._in_a_row.pop(candidate, None)
        return False

    def is_final(self, able: Sequence[_Candidate]) -> bool:
        """Whether all who may have the item have said so twice."""
        return all(self._in_a_row.get(one, 0) >= _TRIES_WHILE_FORBIDDEN for one in able)

    def pause_s(self, able: Sequence[_Candidate]) -> float:
        """Return how long to wait at least before all are asked once more."""
        return _FORBIDDEN_PAUSE_S if all(one in self._in_a_row for one in able) else 0.0


class _TriesFromStart:
    """Which origins are to be asked from the beginning, and not for the rest of an item.

    Some answer every range with an error, with other bytes or not at all; a part that is
    here already must not keep the item away for ever. To ask from the beginning costs all
    of that part again, so ranges and the beginning are tried in turn while both fail.
    """

    def __init__(self) -> None:
        self._due: set[_Candidate] = set()
        self._silent: set[_Candidate] = set()
        """Who has not answered to a range once, which may have been an accident."""

    def offset(self, candidate: _Candidate, wanted: int) -> int:
        """Return from which byte on to ask a candidate for what begins at `wanted`."""
        return 0 if candidate in self._due else wanted

    def note_vain_try(self, candidate: _Candidate, wanted: int, error: OriginError) -> bool:
        """Take note of a try that brought nothing; say whether the range may be what was wrong with it."""
        was_range = bool(self.offset(candidate, wanted))
        self._due.discard(candidate)
        if not was_range:
            return False
        if isinstance(error, WrongLength) and error.is_page:
            # A login page hides the item, whatever part of it is asked for.
            return False
        if isinstance(error, OriginUnreachable):
            if not isinstance(error, OriginHungUp):
                return False
            if candidate not in self._silent:
                self._silent.add(candidate)
                return False
        self._due.add(candidate)
        return True

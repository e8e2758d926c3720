"""An item's bytes in order, whatever happens to the origins on the way.

Owns resuming, failing over and giving up. Knows nothing of digests or files:
who pulls checks what arrives.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from random import Random
from typing import NamedTuple

from proxy.errors import ProxyError
from proxy.upstream.backoff import pauses_s
from proxy.upstream.options import UpstreamOptions
from proxy.upstream.origin import Origin, OriginAbsent, OriginError, OriginUnreachable
from proxy.upstream.route import Route

log = logging.getLogger(__name__)


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


class WrongLength(OriginError):
    """An origin whose copy is longer or shorter than the signed list says."""

    def __init__(self, origin: str, expected_bytes: int, actual_bytes: int) -> None:
        super().__init__(origin, f"its copy has {actual_bytes} bytes, the list says {expected_bytes}")
        self.expected_bytes = expected_bytes
        self.actual_bytes = actual_bytes


class Source(NamedTuple):
    """Where an item can be had: a mirror's origins, and the item's path there."""

    route: Route
    path: str
    turn: int = 0
    """With which origin to begin, where all are used alike."""


class _Candidate(NamedTuple):
    origin: Origin
    source: Source


class Pull:
    """One item's way from its sources to us, from `offset` on.

    Iterate over `chunks()`. Sources may be added meanwhile. `contributors`
    names the origins whose bytes were used.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        size_bytes: int,
        offset: int,
        options: UpstreamOptions,
        random: Random,
    ) -> None:
        self._sources = sources
        self._size_bytes = size_bytes
        self._offset = offset
        self._options = options
        self._random = random
        self._useless: dict[tuple[Origin, str], OriginError] = {}
        self.contributors: set[str] = set()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from the offset to the end, in order, each once.

        Raises ItemAbsent when all origins lack it, WrongLength when all that
        have it have another size, ItemUnobtainable when no byte arrived for
        `give_up_after_s`.
        """
        loop = asyncio.get_running_loop()
        pauses = pauses_s(self._random)
        last: OriginError | None = None
        progress_at = loop.time()
        while self._offset < self._size_bytes:
            for candidate in self._candidates():
                before = self._offset
                try:
                    async with aclosing(self._transfer(candidate)) as chunks:
                        async for chunk in chunks:
                            yield chunk
                except OriginError as error:
                    last = error
                    self._note(candidate, error)
                else:
                    candidate.source.route.worked(candidate.origin)
                    return
                if self._offset > before:
                    progress_at = loop.time()
                    pauses = pauses_s(self._random)
            if loop.time() - progress_at > self._options.give_up_after_s:
                raise ItemUnobtainable(self._sources[0].path, last)
            await asyncio.sleep(next(pauses))

    def _candidates(self) -> list[_Candidate]:
        candidates = [
            _Candidate(origin, source)
            for source in self._sources
            for origin in source.route.order(source.turn)
            if (origin, source.path) not in self._useless
        ]
        if candidates:
            return candidates
        for error in self._useless.values():
            if isinstance(error, WrongLength):
                raise error
        raise ItemAbsent(self._sources[0].path)

    async def _transfer(self, candidate: _Candidate) -> AsyncGenerator[bytes, None]:
        """Yield what one origin adds; skip what an origin without ranges repeats."""
        name = candidate.origin.name
        async with candidate.origin.open(candidate.source.path, offset=self._offset) as reply:
            if reply.total is not None and reply.total != self._size_bytes:
                raise WrongLength(name, self._size_bytes, reply.total)
            position = reply.start
            async for chunk in reply.chunks():
                fresh = chunk[max(0, self._offset - position) :]
                position += len(chunk)
                if position > self._size_bytes:
                    raise WrongLength(name, self._size_bytes, position)
                if fresh:
                    self._offset = position
                    self.contributors.add(name)
                    yield fresh
            if position != self._size_bytes and reply.ends_for_sure:
                raise WrongLength(name, self._size_bytes, position)
            if position != self._size_bytes:
                raise OriginUnreachable(name, f"its answer ended early, at {position} bytes")

    def _note(self, candidate: _Candidate, error: OriginError) -> None:
        log.warning("origin.failed path=%s problem=%s", candidate.source.path, error)
        if isinstance(error, (OriginAbsent, WrongLength)):
            self._useless[candidate.origin, candidate.source.path] = error
        else:
            candidate.source.route.failed(candidate.origin)

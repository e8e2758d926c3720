"""An item's bytes in order, whatever happens to the origins on the way.

Owns resuming, failing over and giving up, for origins of every kind. Knows nothing of
digests or files: whoever pulls checks what arrives.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from random import Random
from typing import NamedTuple

from proxy.sources.backoff import pauses_s
from proxy.sources.candidates import Candidate, Candidates, Doubts, Source
from proxy.sources.errors import ItemForbidden, ItemUnobtainable, OriginError, WrongLength
from proxy.sources.freshness import Freshness
from proxy.sources.limits.flow import Flow
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions, Origin, OriginItem, Piece

log = logging.getLogger(__name__)

_TRIES_FROM_ONE = 3
"""How often an origin is asked on, while another could be asked for the whole."""


class Part(NamedTuple):
    """The bytes of [start, stop), and the name of the origin that sent them."""

    origin: str
    start: int
    stop: int
    place: str = ""
    """The URL that it had redirected to, if any."""


async def _do_nothing(_: OriginError) -> None:
    """Nobody wants to be told."""


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
        self._candidates = Candidates(sources, doubts)
        self._size_bytes = size_bytes
        self._offset = offset
        self._options = options
        self._random = random
        self._doubts = doubts
        self._items: dict[tuple[Origin, str], OriginItem] = {}
        self.parts: list[Part] = []
        self.first_byte_within_s = options.give_up_after_s
        """A pull without a single byte fails after so long."""
        self.flow = Flow()
        """The transfer that this is, where a limit makes transfers wait."""
        self.after_failed_round: Callable[[OriginError], Awaitable[None]] = _do_nothing
        """Told each time that all origins have failed one after the other, with the last one's problem."""

    @property
    def contributors(self) -> set[str]:
        """The names of the origins whose bytes were used."""
        return {part.origin for part in self.parts}

    @property
    def wrong_lengths(self) -> list[WrongLength]:
        """What was found out about copies of another size."""
        return self._candidates.wrong_lengths

    def absent_at(self, path: str) -> set[str]:
        """Return the names of the origins that say that they have nothing at a path."""
        return self._candidates.absent_at(path)

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the bytes from the offset to the end, in order, each once.

        A Readable stands for the next bytes: they are to be read from it before the next piece is
        asked for.

        Raises ItemAbsent when all origins lack it, WrongCopy when all that have it have a wrong one,
        ItemForbidden when all that may have it refuse to give it, ItemUnobtainable when no byte arrived
        for `give_up_after_s`, or when the one origin whose bytes may be used ceases.
        """
        loop = asyncio.get_running_loop()
        pauses = pauses_s(self._random)
        last: OriginError | None = None
        progress_at = loop.time()
        failed_tries = 0
        while self._offset < self._size_bytes:
            for candidate in self._in_turn():
                before = self._offset
                try:
                    async with aclosing(self._transfer(candidate)) as pieces:
                        async for piece in pieces:
                            yield piece
                except OriginError as error:
                    last = error
                    self._note(candidate, error, has_begun=self._offset > before)
                else:
                    candidate.source.route.worked(candidate.origin)
                    return
                failed_tries += 1
                if self._offset > before:
                    progress_at = loop.time()
                    pauses = pauses_s(self._random)
                    failed_tries = 0
                    if self._doubts.is_mixed or self._is_whole:
                        break
            if self._is_whole or not self._candidates.able():
                # Nothing is missing, but for the end of an answer; or every origin has answered for good.
                continue
            silence_s = loop.time() - progress_at
            self._check_worth_going_on(last, failed_tries, silence_s)
            if last is not None and failed_tries:
                await self.after_failed_round(last)
            pause_s = max(next(pauses), self._candidates.least_pause_s())
            await asyncio.sleep(min(pause_s, max(0.0, self._longest_silence_s - silence_s)))

    def _check_worth_going_on(self, last: OriginError | None, failed_tries: int, silence_s: float) -> None:
        """Raise ItemForbidden or ItemUnobtainable when asking on makes no sense."""
        candidates = self._candidates
        if last is not None and candidates.all_refuse():
            raise ItemForbidden(candidates.path, last, candidates.remark)
        is_hopeless = self._is_tied and failed_tries >= _TRIES_FROM_ONE
        if is_hopeless or silence_s >= self._longest_silence_s:
            raise ItemUnobtainable(candidates.path, last)

    @property
    def _is_whole(self) -> bool:
        return self._offset == self._size_bytes

    @property
    def _longest_silence_s(self) -> float:
        return self._options.give_up_after_s if self.parts else self.first_byte_within_s

    def _in_turn(self) -> list[Candidate]:
        """Return which origins to ask now, the best first. Raises ItemAbsent or WrongCopy without any."""
        able = self._candidates.able()
        if not able:
            raise self._candidates.exhausted()
        mine = [one for one in able if one.origin.name in self.contributors]
        return mine if mine and self._doubts.is_mixed else able

    @property
    def _is_tied(self) -> bool:
        """Whether others could be asked, were it not for the bytes that have come already."""
        return (
            self._doubts.is_mixed
            and bool(self.parts)
            and any(one.origin.name not in self.contributors for one in self._candidates.able())
        )

    async def _transfer(self, candidate: Candidate) -> AsyncGenerator[Piece, None]:
        """Yield what one origin adds, and note whose bytes they are."""
        item = self._item(candidate)
        options = ItemOptions(
            freshness=Freshness.ANEW if self._doubts.is_suspect else Freshness.KEPT,
            avoided=frozenset(self._candidates.bad_places),
            is_replaceable=any(one.origin is not candidate.origin for one in self._in_turn()),
            flow=self.flow,
        )
        async with aclosing(item.pieces(self._offset, options)) as pieces:
            async for piece in pieces:
                if isinstance(piece, bytes):
                    self._take(candidate.origin.name, len(piece), item.place)
                    yield piece
                else:
                    left_bytes = piece.left_bytes
                    yield piece
                    self._take(candidate.origin.name, left_bytes - piece.left_bytes, item.place)

    def _item(self, candidate: Candidate) -> OriginItem:
        """Return an item at an origin, the same each time."""
        at = candidate.origin, candidate.source.path
        if at not in self._items:
            self._items[at] = candidate.origin.item(candidate.source.path, self._size_bytes)
        return self._items[at]

    def _take(self, name: str, count: int, place: str) -> None:
        """Note that an origin's next bytes are used."""
        if not count:
            return
        start, stop = self._offset, self._offset + count
        if self.parts and (self.parts[-1].origin, self.parts[-1].place) == (name, place):
            start = self.parts.pop().start
        self.parts.append(Part(name, start, stop, place))
        self._offset = stop

    def _note(self, candidate: Candidate, error: OriginError, *, has_begun: bool) -> None:
        """Log an error, and have it judged."""
        log.warning("origin.failed path=%s problem=%s", candidate.source.path, error)
        contradicts_itself = not has_begun and candidate.origin.name in self.contributors
        self._candidates.note(candidate, error, contradicts_itself=contradicts_itself)

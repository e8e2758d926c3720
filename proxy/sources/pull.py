"""An item's bytes in order, whatever happens to the origins on the way.

Owns resuming, failing over and giving up, for origins of every kind. Knows nothing of
digests or files: whoever pulls checks what arrives.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from contextlib import aclosing
from random import Random
from typing import NamedTuple, Protocol

from proxy.sources.candidates import Candidate, Candidates, Doubts, Source
from proxy.sources.errors import (
    ItemForbidden,
    ItemUnobtainable,
    OriginError,
    OriginForbidden,
    OriginUnreachable,
    PageSent,
    PartsRefused,
    WrongLength,
)
from proxy.sources.freshness import Freshness
from proxy.sources.limits.flow import Flow
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions, Origin, OriginItem, Piece
from proxy.sources.patience import Patience
from proxy.sources.segments.ahead import Ahead
from proxy.sources.segments.hosts import Hosts

log = logging.getLogger(__name__)

_TRIES_FROM_ONE = 3
"""How often an origin is asked on, while another could be asked for the whole."""
_NOTABLE_TRIES = 3
"""After so many answers in a row of hardly anything somebody has to know."""


class Part(NamedTuple):
    """The bytes of [start, stop), and the name of the origin that sent them."""

    origin: str
    start: int
    stop: int
    place: str = ""
    """The URL that it had redirected to, if any."""


class Kept(Protocol):
    """Bytes of the item that had arrived before, and who sent them."""

    def held(self, origin: str, offset: int) -> Part | None:
        """Return what an origin sent from an offset on, if it sent that byte."""

    def next_start(self, origin: str, offset: int) -> int | None:
        """Return where the next part that an origin sent begins, beyond an offset."""

    def read(self, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of [start, stop)."""


async def _do_nothing(_: OriginError) -> None:
    """Nobody wants to be told."""


def _always() -> bool:
    return True


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
        hosts: Hosts,
    ) -> None:
        self._candidates = Candidates(sources, doubts)
        self._size_bytes = size_bytes
        self._offset = offset
        self._stop = size_bytes
        self._options = options
        self._patience = Patience(asyncio.get_running_loop().time, random, offset)
        self._doubts = doubts
        self._hosts = hosts
        self._items: dict[tuple[Origin, str], OriginItem] = {}
        self.parts: list[Part] = []
        self.first_byte_within_s = options.give_up_after_s
        """A pull without a single byte fails after so long."""
        self.flow = Flow()
        """The transfer that this is, where a limit makes transfers wait."""
        self.after_failed_round: Callable[[OriginError], Awaitable[None]] = _do_nothing
        """Told each time that all origins have failed one after the other, with the last one's problem."""

        self.may_widen: Callable[[], bool] = _always
        """Says whether further connections may be used now."""
        self.kept: Kept | None = None
        """What need not be fetched again from the origin that sent it."""

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
        ahead = Ahead(self._size_bytes, self._offset, self._hosts, self, self._widens)
        self._patience.came()
        try:
            async with aclosing(self._pieces(ahead)) as pieces:
                async for piece in pieces:
                    yield piece
                    self._patience.came()
        finally:
            await ahead.close()

    async def _pieces(self, ahead: Ahead) -> AsyncGenerator[Piece, None]:
        patience = self._patience
        while self._offset < self._stop:
            async with aclosing(self._from_ahead(ahead)) as handed_on:
                async for data in handed_on:
                    yield data
            if self._is_whole:
                break
            async with aclosing(self._in_one_round(ahead)) as pieces:
                async for piece in pieces:
                    yield piece
            if self._offset == self._stop or ahead.is_next or not self._candidates.able():
                # Nothing is missing, but for the end of an answer; or every origin has answered for good.
                continue
            self._check_worth_going_on()
            if patience.last is not None and patience.failed_tries:
                await self.after_failed_round(patience.last)
            pause_s = max(patience.next_pause_s(), self._candidates.least_pause_s())
            await ahead.becomes_next(min(pause_s, self._left_silence_s))

    async def _in_one_round(self, ahead: Ahead) -> AsyncGenerator[Piece, None]:
        """Ask the origins in turn, until one has given all, or all up to what is fetched ahead."""
        clock = asyncio.get_running_loop().time
        for candidate in self._in_turn():
            before, asked_at = self._offset, clock()
            try:
                transfer = self._transfer if self.kept is None else self._completion
                async with aclosing(transfer(candidate, ahead)) as pieces:
                    async for piece in pieces:
                        yield piece
            except OriginError as error:
                self._note(candidate, error, self._offset - before, clock() - asked_at)
            else:
                if self._offset > before:
                    candidate.source.route.worked(candidate.origin)
                return
            has_begun = self._offset > before
            if self._is_whole or ahead.is_next or (has_begun and self._doubts.is_mixed):
                return

    async def _from_ahead(self, ahead: Ahead) -> AsyncGenerator[bytes, None]:
        """Yield what was fetched ahead, and note whose bytes they are."""
        async with aclosing(ahead.chunks()) as chunks:
            async for sender, data in chunks:
                self._take(sender.origin, len(data), sender.place)
                yield data

    def _check_worth_going_on(self) -> None:
        """Raise ItemForbidden or ItemUnobtainable when asking on makes no sense."""
        candidates, patience = self._candidates, self._patience
        if patience.last is not None and candidates.all_refuse():
            raise ItemForbidden(candidates.path, patience.last, candidates.remark)
        is_hopeless = self._is_tied and patience.poor_tries >= _TRIES_FROM_ONE
        # Who has just sent something is asked once more, however long that took.
        is_over = patience.failed_tries and not self._left_silence_s
        if is_hopeless or is_over:
            raise self._given_up()

    def _given_up(self) -> ItemUnobtainable:
        problem = f"no byte for {self._patience.silence_s:.0f} s, [upstream] give_up_after"
        last = self._patience.last or OriginUnreachable(self._in_turn()[0].origin.name, problem)
        return ItemUnobtainable(self._candidates.path, last)

    @property
    def _is_whole(self) -> bool:
        return self._offset == self._size_bytes

    @property
    def _longest_silence_s(self) -> float:
        return self._options.give_up_after_s if self.parts else self.first_byte_within_s

    @property
    def _left_silence_s(self) -> float:
        """How much longer the next byte is waited for."""
        return max(0.0, self._longest_silence_s - self._patience.silence_s)

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

    async def _transfer(self, candidate: Candidate, ahead: Ahead) -> AsyncGenerator[Piece, None]:
        """Yield what one origin adds, up to what is fetched ahead, and note whose bytes they are."""
        item = self.item(candidate)
        clock = asyncio.get_running_loop().time
        ahead.begin(candidate)
        try:
            async with aclosing(item.pieces(self._offset, self.options(candidate))) as pieces:
                asked_at = clock()
                while (piece := await ahead.next_of_main(pieces)) is not None:
                    waited_s = clock() - asked_at
                    before = self._offset
                    if isinstance(piece, bytes):
                        self._take(candidate.origin.name, len(piece), item.place)
                        yield piece
                    else:
                        left_bytes = piece.left_bytes
                        yield piece
                        self._take(candidate.origin.name, left_bytes - piece.left_bytes, item.place)
                    ahead.handed_on(self._offset - before, waited_s)
                    if self._is_relieved(ahead):
                        return
                    asked_at = clock()
                if not self._is_relieved(ahead):
                    self._stop = self._offset  # All has come, or it has ended without a word.
        finally:
            ahead.end()

    def _is_relieved(self, ahead: Ahead) -> bool:
        """Whether what the main transfer would send next has come ahead."""
        return self._size_bytes > ahead.main_stops_at <= self._offset

    async def _completion(self, candidate: Candidate, ahead: Ahead) -> AsyncGenerator[Piece, None]:
        """Yield what one origin adds to what it had sent before, part by part."""
        name, item = candidate.origin.name, self.item(candidate)
        while self.kept is not None and not self._is_whole:
            if (held := self.kept.held(name, self._offset)) is not None:
                chunks, place = self.kept.read(held.start, held.stop), held.place
                async with aclosing(chunks):
                    async for chunk in chunks:
                        self._take(name, len(chunk), place)
                        yield chunk
            else:
                stop = self.kept.next_start(name, self._offset) or self._size_bytes
                part = item.part(self._offset, stop, self.options(candidate))
                try:
                    async with aclosing(part.chunks()) as fetched:
                        async for chunk in fetched:
                            self._take(name, len(chunk), part.place)
                            yield chunk
                except PartsRefused:
                    self.kept = None
        if not self._is_whole:
            async with aclosing(self._transfer(candidate, ahead)) as pieces:
                async for piece in pieces:
                    yield piece

    # For what is fetched ahead

    def _widens(self) -> bool:
        # An origin whose copy is right may send other bytes for a part of it.
        return not self._doubts.is_suspect and self.may_widen()

    def able(self) -> list[Candidate]:
        """Return the origins whose bytes may be used now, the best first."""
        able = self._candidates.able()
        if self._doubts.is_mixed:
            return [one for one in able if one.origin.name in self.contributors]
        return [one for one in able if one is able[0] or one.source.route.is_joined]

    async def wait_for(self, news: asyncio.Event, asked: Collection[Candidate]) -> None:
        """Wait for news of what origins are asked for. Raises ItemUnobtainable after too long.

        As long as there is another, which would be asked after them, they may take their time.
        """
        is_last = set(asked).issuperset(self._candidates.able())
        try:
            async with asyncio.timeout(self._left_silence_s if is_last else None):
                await news.wait()
        except TimeoutError:
            self._check_worth_going_on()
            raise self._given_up() from None

    def options(self, candidate: Candidate) -> ItemOptions:
        """Return how an item is asked for at an origin."""
        return ItemOptions(
            freshness=Freshness.ANEW if self._doubts.is_suspect else Freshness.KEPT,
            avoided=frozenset(self._candidates.bad_places),
            is_replaceable=any(one.origin is not candidate.origin for one in self._in_turn()),
            flow=self.flow,
        )

    def item(self, candidate: Candidate) -> OriginItem:
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

    def _note(self, candidate: Candidate, error: OriginError, brought_bytes: int, took_s: float) -> None:
        """Log an error of an origin that has brought so much before, and have it judged."""
        log.warning("origin.failed path=%s problem=%s", candidate.source.path, error)
        has_begun = brought_bytes > 0
        self._patience.failed(error, self._offset, has_begun=has_begun)
        if has_begun and self._patience.poor_tries >= _NOTABLE_TRIES:
            self._hosts.note_brief(candidate.origin.name, candidate.source.path, brought_bytes, error.problem)
        if error.pause_s is not None:
            self._hosts.pause(candidate.origin.host, error.pause_s)
        if not has_begun and self._may_refuse_connection(candidate.origin.host, error, took_s):
            return  # It would say so whatever is asked for.
        contradicts_itself = not has_begun and candidate.origin.name in self.contributors
        self._candidates.note(candidate, error, contradicts_itself=contradicts_itself)

    def _may_refuse_connection(self, host: str, error: OriginError, took_s: float) -> bool:
        """Whether what seems to be about the item, said after so long, may be about one connection more."""
        if isinstance(error, OriginForbidden):
            return self._hosts.is_full(host)
        return isinstance(error, PageSent) and self._hosts.has_worked(host, took_s)

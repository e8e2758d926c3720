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
    WrongCopy,
    WrongLength,
)
from proxy.sources.freshness import Freshness
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions, Origin, OriginItem, Piece
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
    """Every origin that may have the item refuses to give it, or does not have it."""

    def __init__(self, path: str, last: OriginError, remark: str = "") -> None:
        super().__init__(path, last)
        self.args = (f"no origin gives {path}: {last}" + (f". {remark}" if remark else ""),)


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
        self._items: dict[tuple[Origin, str], OriginItem] = {}
        self._useless: dict[tuple[Origin, str], OriginError] = {}
        self._forbidden = _Forbidden()
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

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """Yield the bytes from the offset to the end, in order, each once.

        A Readable stands for the next bytes: they are to be read from it before the next piece is
        asked for.

        Raises ItemAbsent when all origins lack it, WrongCopy when all that have it have a wrong one,
        ItemForbidden when all that may have it refuse to give it, ItemUnobtainable when no byte arrived for
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
            raise ItemForbidden(self._sources[0].path, last, self._forbidden.remark)
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

    async def _transfer(self, candidate: _Candidate) -> AsyncGenerator[Piece, None]:
        """Yield what one origin adds, and note whose bytes they are."""
        item = self._item(candidate)
        options = ItemOptions(
            freshness=Freshness.ANEW if self._doubts.is_suspect else Freshness.KEPT,
            avoided=self._bad_places | self._doubts.wrong_at.keys(),
            is_replaceable=self._has_others(candidate),
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

    def _item(self, candidate: _Candidate) -> OriginItem:
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

    def _note(self, candidate: _Candidate, error: OriginError, *, has_begun: bool) -> None:
        """Decide whether an origin is of use once more."""
        log.warning("origin.failed path=%s problem=%s", candidate.source.path, error)
        if error.is_about_question:
            return
        # An origin that has sent a part and now answers with something else may be hidden by a login page.
        contradicts_itself = not has_begun and candidate.origin.name in self.contributors
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
    """Which origins refuse to give the item; as far as anybody knows, that is about the item."""

    def __init__(self) -> None:
        self._in_a_row: dict[_Candidate, int] = {}
        self.remark = ""
        """What else the latest refusal may mean."""

    def note(self, candidate: _Candidate, error: OriginError) -> bool:
        """Take note of a vain try; say whether it was forbidden."""
        if isinstance(error, OriginForbidden):
            self._in_a_row[candidate] = self._in_a_row.get(candidate, 0) + 1
            self.remark = error.remark
            return True
        self._in_a_row.pop(candidate, None)
        return False

    def is_final(self, able: Sequence[_Candidate]) -> bool:
        """Whether all who may have the item have said so twice."""
        return all(self._in_a_row.get(one, 0) >= _TRIES_WHILE_FORBIDDEN for one in able)

    def pause_s(self, able: Sequence[_Candidate]) -> float:
        """Return how long to wait at least before all are asked once more."""
        return _FORBIDDEN_PAUSE_S if all(one in self._in_a_row for one in able) else 0.0

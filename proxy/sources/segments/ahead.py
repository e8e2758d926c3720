"""Fetching parts of one item ahead of its main transfer, where that is worth it.

Owns the tasks that do so, and the bytes that they bring, until those are handed on in
order. The main transfer, which is the caller's, is one of the connections as long as it
runs. Whatever goes wrong with a part costs that part: it is fetched by another transfer.
"""

import asyncio
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing, suppress
from typing import Protocol

from proxy.sources.candidates import Candidate
from proxy.sources.errors import OriginError
from proxy.sources.origin import ItemOptions, OriginItem, Piece
from proxy.sources.segments.climb import Climb
from proxy.sources.segments.connections import Connections, Rate, Transfer
from proxy.sources.segments.hosts import Hosts
from proxy.sources.segments.lengths import split_offset
from proxy.sources.segments.next_part import NextPart
from proxy.sources.segments.observations import HANGS_AFTER_S, Observations
from proxy.sources.segments.part_tasks import PartTasks
from proxy.sources.segments.relief import Relief
from proxy.sources.segments.seats import Seats
from proxy.sources.segments.slowness import SlownessCheck, comes_soon
from proxy.sources.segments.window import Chunk, Segment, Sender, Window

WINDOW_BYTES = 64 * 1024 * 1024
_TICK_S = 0.03
_REST_S = 0.1
"""An origin whose part broke off is asked for no other one before that: each may bring little."""
_MOST_ABANDONED = 8
"""So many connections in a row that trickle or are silent: it is the origin that has become slow."""


class Asking(Protocol):
    """How the parts of an item are asked for: what the caller knows of its origins."""

    def able(self) -> Sequence[Candidate]:
        """Return the origins whose bytes may be used now, the best first."""

    def item(self, candidate: Candidate) -> OriginItem:
        """Return the item at an origin."""

    def options(self, candidate: Candidate) -> ItemOptions:
        """Return how it is asked for there."""

    async def wait_for(self, news: asyncio.Event, asked: Collection[Candidate]) -> None:
        """Wait for news of what these origins are asked for. Raises ItemUnobtainable after too long."""


class Ahead:
    """The bytes of one item that are fetched ahead of `position`; to be closed.

    Whoever pulls the item tells of its main transfer by `begin` and `end`, and of its bytes by
    `handed_on`; it ends that transfer at `main_stops_at`, and then iterates over `chunks`.
    """

    def __init__(
        self, size_bytes: int, position: int, hosts: Hosts, asking: Asking, may_widen: Callable[[], bool]
    ) -> None:
        self._window = Window(position, size_bytes, WINDOW_BYTES)
        self._hosts = hosts
        self._asking = asking
        self._clock = asyncio.get_running_loop().time
        self._connections = Connections()
        self._total_bytes = 0
        self._ahead_bytes = 0
        """What came ahead and was not handed on."""
        self._slowness = SlownessCheck()
        self._climb: Climb | None = None
        self._tasks = PartTasks()
        self._broke_at: dict[Candidate, float] = {}
        """When a part of each origin broke off last."""
        self._abandoned = 0
        """How many transfers in a row only trickled, or brought nothing."""
        self._seats = Seats(hosts, self, lambda: asking.able() if may_widen() else ())
        self._observations = Observations(hosts, self, self._connections, self._seats)
        self._news = asyncio.Event()
        self._relief = Relief()
        self._next_part = NextPart(size_bytes, self._window, self._connections, self._relief)

    def __repr__(self) -> str:
        return f"Ahead({self._window!r}, {self._climb!r}, {len(self._connections)} connections)"

    # The main transfer

    @property
    def is_next(self) -> bool:
        """Whether the next bytes are here, or come without a main transfer."""
        return self._window.is_covered

    @property
    def main_stops_at(self) -> int:
        """Up to where the main transfer has to fetch, as far as is known now."""
        return self._window.takes_over_at

    def begin(self, candidate: Candidate) -> None:
        """Take note that a main transfer begins, at an origin."""
        self._window.open_hole()
        connections = self._connections
        connections.main, connections.main_works = candidate, False
        self._observations.connected(candidate)
        connections.main_rate = Rate(connections.usual_rate())
        self._slowness.restart()
        self._shrink()

    def end(self) -> None:
        """Take note that it has ended."""
        main = self._connections.main
        if main is not None:
            self._observations.disconnected(main)
            self._connections.main = None

    async def next_of_main(self, pieces: AsyncGenerator[Piece, None]) -> Piece | None:
        """Return the next piece of the main transfer; None at its end, or when its next bytes came ahead."""
        return await (anext(pieces, None) if self._climb is None else self._relief.next_of(pieces))

    def handed_on(self, count: int, waited_s: float) -> None:
        """Take note of bytes of the main transfer, and for how long the origin was waited for."""
        self._window.advance(self._window.position + count)
        main = self._connections.main
        if count and main is not None and not self._connections.main_works:
            self._connections.main_works = True
            self._observations.works(main)
        passed = [one for one in self._connections.transfers if one.segment.stop <= self._window.position]
        for transfer in passed:
            self._drop(transfer)
        self._total_bytes += count
        if self._climb is not None:
            self._connections.main_rate.note(count)
            return
        now = self._clock()
        rate_bytes = self._slowness.slow_rate(now, self._total_bytes, waited_s, self._window.left_bytes)
        if rate_bytes is not None and len(self._seats.in_turn()) > 1:
            self._connections.main_rate = Rate(rate_bytes)
            self._climb = Climb(now, rate_bytes)
            self._tasks.begin(self._watch(), "fetch ahead")
            self._decide(now)

    # Handing on

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield what is here at the position, or comes without a main transfer.

        Raises ItemUnobtainable when it is waited for too long.
        """
        while self._window.is_covered:
            self._news.clear()
            chunk = self._window.take()
            if chunk is not None:
                self._fill()
                self._ahead_bytes -= len(chunk.data)
                yield chunk
            elif self._window.is_covered:
                asked = [one.candidate for one in self._connections.transfers]
                await self._asking.wait_for(self._news, asked)
        self._hold()

    async def becomes_next(self, within_s: float) -> None:
        """Return once the next bytes come without a main transfer, or after so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not self._window.is_covered:
                    self._news.clear()
                    await self._news.wait()

    async def close(self) -> None:
        """End all transfers, and drop what they brought."""
        self.end()
        self._connections.transfers.clear()
        await self._tasks.end()
        self._hosts.hold_memory(self, 0)
        if self._ahead_bytes:
            self._hosts.meter.discarded(self._ahead_bytes)
        self._tasks.check()

    # How many connections

    async def _watch(self) -> None:
        """Look at the rates of all connections again and again."""
        before = self._clock()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            self._connections.tick(now - before)
            before = now
            self._decide(now)

    def _decide(self, now: float) -> None:
        climb = self._climb
        if climb is None:
            return
        is_complete = self._connections.have_all_brought_something
        verdict = climb.judge(now, self._total_bytes, is_complete=is_complete)
        if verdict is not None and verdict.was_in_vain:
            self._seats.was_in_vain(verdict.connections)
        seats = self._seats.in_turn()
        climb.limit(len(seats))
        if climb.may_try(now) and not comes_soon(self._window.left_bytes, self._connections.rate_bytes):
            if len(seats) > climb.count:
                climb.try_more(now, len(seats) - climb.count)
            else:
                climb.rest(now)
                self._seats.try_again()
        self._shrink()
        self._abandon()
        self._fill()

    def _shrink(self) -> None:
        """Give up connections that are too many: those that are furthest ahead."""
        connections, most = self._connections, 1 if self._climb is None else self._climb.count
        if not connections.transfers or len(connections) <= most:
            return
        wanted = Counter(self._seats.in_turn()[:most])
        while connections.transfers and len(connections) > most:
            self._drop(connections.least_wanted(wanted))
            self._hosts.meter.given_up()

    def _abandon(self) -> None:
        """Leave to a new connection what would never break off: it only trickles, or was never answered."""
        stuck = self._connections.trickling() or self._connections.silent(self._clock() - HANGS_AFTER_S)
        if stuck is None or self._abandoned >= _MOST_ABANDONED:
            return
        self._abandoned += 1
        if any(one != stuck.candidate for one in self._seats.in_turn()):
            self._seats.failed(stuck.candidate)
        self._drop(stuck)
        self._hosts.meter.given_up()

    def _drop(self, transfer: Transfer) -> None:
        self._observations.given_up(transfer, self._clock())
        self._connections.transfers.remove(transfer)
        self._window.leave(transfer.segment)
        transfer.task.cancel()
        self._news.set()

    def _fill(self) -> None:
        """Begin as many transfers as there may be."""
        if self._climb is None or self._climb.count <= 1:
            self._hold()
            return
        wanted = Counter(self._seats.in_turn()[: self._climb.count])
        for _ in range(self._climb.count):
            if len(self._connections) >= self._climb.count or not self._begin_one(wanted):
                break
        self._hold()

    def _begin_one(self, wanted: Counter[Candidate]) -> bool:
        """Begin a transfer at an origin that lacks one; say whether there was anything to fetch.

        What a slow origin would only bring later may still be worth asking a faster one for.
        """
        now = self._clock()
        for candidate in self._connections.lacking(wanted):
            if now < self._broke_at.get(candidate, -math.inf) + _REST_S:
                continue
            if (segment := self._next_segment(candidate)) is not None:
                self._start(candidate, segment)
                return True
        return False

    def _hold(self) -> None:
        self._hosts.hold_memory(self, self._window.claimed_bytes)

    # One part

    def _next_segment(self, candidate: Candidate) -> Segment | None:
        """Return what a connection to an origin should fetch next, if there is anything."""
        self._window.limit_bytes = min(WINDOW_BYTES, self._hosts.free_memory_bytes(self))
        return self._next_part.at(candidate) or self._split(self._connections.usual_rate(candidate))

    def _split(self, rate_bytes: float) -> Segment | None:
        """Take over the end of what another transfer would bring late."""
        slowest = self._connections.slowest(self._window.position)
        if slowest is None or (kept := split_offset(slowest.load, rate_bytes)) is None:
            return None
        if not kept and self._abandoned >= _MOST_ABANDONED:
            return None
        segment = self._window.split(slowest.segment, slowest.segment.received + kept)
        if not kept:
            self._abandoned += 1
            self._drop(slowest)
        return segment

    def _start(self, candidate: Candidate, segment: Segment) -> None:
        rate_bytes = self._connections.usual_rate(candidate)
        transfer = Transfer(candidate, segment, rate_bytes, self._clock())
        self._connections.transfers.append(transfer)
        self._observations.connected(candidate)
        transfer.task = self._tasks.begin(self._fetch(transfer), "fetch part")
        transfer.task.add_done_callback(lambda _: self._ended(transfer))
        self._news.set()

    async def _fetch(self, transfer: Transfer) -> None:
        candidate, segment = transfer.candidate, transfer.segment
        stop, options = segment.stop, self._asking.options(candidate)
        part = self._asking.item(candidate).part(segment.received, stop, options)
        try:
            async with aclosing(part.chunks()) as chunks:
                async for data in chunks:
                    count = segment.add(Chunk(Sender(candidate.origin.name, part.place), data))
                    self._observations.received(transfer, count)
                    self._ahead_bytes += len(data)
                    self._total_bytes += count
                    if self._window.takes_over_at <= self._window.position:
                        self._relief.end()
                    self._news.set()
                    is_taken_over = segment.is_whole and segment.stop < stop
                    if is_taken_over or count < len(data) or segment.stop <= self._window.position:
                        break
        except OriginError as error:
            self._broke_at[candidate] = self._clock()
            self._observations.failed(transfer, error)

    def _ended(self, transfer: Transfer) -> None:
        self._observations.part_ended(transfer)
        if transfer.received_bytes:
            self._hosts.meter.fetched(transfer.received_bytes)
        if transfer in self._connections.transfers:
            self._connections.transfers.remove(transfer)
            self._window.leave(transfer.segment)
            if transfer.segment.is_whole:
                self._abandoned = 0
            self._decide(self._clock())
        self._news.set()

"""Fetching parts of one item ahead of its main transfer, where that is worth it.

Owns the tasks that do so, and the bytes that they bring, until those are handed on in
order. The main transfer, which is the caller's, is one of the connections as long as it
runs. Whatever goes wrong with a part costs that part: it is fetched by another transfer.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol

from proxy.sources.candidates import Candidate
from proxy.sources.errors import OriginError, PartsRefused
from proxy.sources.origin import ItemOptions, OriginItem
from proxy.sources.segments.climb import Climb
from proxy.sources.segments.hosts import Hosts
from proxy.sources.segments.lengths import Load, next_length, split_offset
from proxy.sources.segments.seats import Seats
from proxy.sources.segments.window import LEAST_BYTES, Chunk, Segment, Sender, Window
from proxy.system.threads import ended

log = logging.getLogger(__name__)

WINDOW_BYTES = 64 * 1024 * 1024
LEAST_LEFT_BYTES = 8 * LEAST_BYTES
"""Less than this is fetched over the connection that is there."""
_LOOK_AFTER_S = 0.1
_LOOK_EVERY_S = 1.0
_SOON_S = 1.0
"""Who will have all within that time needs no further connection."""
_FAST_BYTES = 64 * 1024 * 1024
"""A second: a connection of that rate is not what things wait for."""
_LEAST_WAITING_SHARE = 0.5
"""Who waits for the origin less than this has no use for more from it."""
_TICK_S = 0.03
_RATE_OVER_S = 0.5
_NO_FAILURE_BYTES = 64 * 1024
"""A transfer that brought so much before it broke off is not held against its origin."""


class Asking(Protocol):
    """How the parts of an item are asked for: what the caller knows of its origins."""

    def able(self) -> Sequence[Candidate]:
        """Return the origins whose bytes may be used now, the best first."""

    def item(self, candidate: Candidate) -> OriginItem:
        """Return the item at an origin."""

    def options(self, candidate: Candidate) -> ItemOptions:
        """Return how it is asked for there."""


class _Rate:
    """Bytes a second, of late."""

    def __init__(self, rate_bytes: float) -> None:
        self.rate_bytes = rate_bytes
        self._count = 0

    def note(self, count: int) -> None:
        self._count += count

    def tick(self, seconds: float) -> None:
        """Take in what has come in the last so many seconds."""
        weight = 1 - math.exp(-seconds / _RATE_OVER_S)
        self.rate_bytes += weight * (self._count / seconds - self.rate_bytes)
        self._count = 0


class _Transfer:
    """One part on its way."""

    task: asyncio.Task[None]

    def __init__(self, candidate: Candidate, segment: Segment, rate_bytes: float) -> None:
        self.candidate = candidate
        self.segment = segment
        self.rate = _Rate(rate_bytes)
        self.received_bytes = 0

    @property
    def load(self) -> Load:
        return Load(self.segment.left_bytes, self.rate.rate_bytes)


class Ahead:
    """The bytes of one item that are fetched ahead of `position`; to be closed.

    Whoever pulls the item tells of its main transfer by `begin` and `end`, and of its bytes by
    `handed_on`; it ends that transfer at `main_stops_at`, and then iterates over `chunks`.
    """

    def __init__(
        self, size_bytes: int, position: int, hosts: Hosts, asking: Asking, may_widen: Callable[[], bool]
    ) -> None:
        self._size_bytes = size_bytes
        self._window = Window(position, size_bytes, WINDOW_BYTES)
        self._hosts = hosts
        self._asking = asking
        self._may_widen = may_widen
        self._clock = asyncio.get_running_loop().time
        self._main: Candidate | None = None
        self._main_rate = _Rate(0.0)
        self._last_rate = 0.0
        self._total_bytes = 0
        self._ahead_bytes = 0
        """What came ahead and was not handed on."""
        self._waited_s = 0.0
        self._looked_at: tuple[float, int, float] | None = None
        self._look_at = math.inf
        self._climb: Climb | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None
        self._transfers: list[_Transfer] = []
        self._choice = Seats(hosts, self, asking.able)
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        return f"Ahead({self._window!r}, {self._climb!r}, {len(self._transfers)} transfers)"

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
        self._main = candidate
        self._hosts.connected(candidate.origin.host, self)
        self._main_rate = _Rate(self._usual_rate())
        self._looked_at = None
        self._shrink()

    def end(self) -> None:
        """Take note that it has ended."""
        if self._main is not None:
            self._hosts.disconnected(self._main.origin.host, self)
            self._main = None

    def handed_on(self, count: int, waited_s: float) -> None:
        """Take note of bytes of the main transfer, and for how long the origin was waited for."""
        self._window.advance(self._window.position + count)
        for transfer in [one for one in self._transfers if one.segment.stop <= self._window.position]:
            self._drop(transfer)
        self._total_bytes += count
        self._waited_s += waited_s
        if self._climb is not None:
            self._main_rate.note(count)
            return
        now = self._clock()
        if self._looked_at is None:
            self._look_again(now, _LOOK_AFTER_S)
        elif now >= self._look_at:
            self._look(now, self._looked_at)

    def _look_again(self, now: float, seconds: float) -> None:
        self._looked_at = now, self._total_bytes, self._waited_s
        self._look_at = now + seconds

    def _look(self, now: float, before: tuple[float, int, float]) -> None:
        """Begin to fetch ahead if one connection is slow, and it is the origin that is."""
        seconds = now - before[0]
        rate_bytes = (self._total_bytes - before[1]) / seconds
        waited_share = (self._waited_s - before[2]) / seconds
        self._look_again(now, _LOOK_EVERY_S)
        left_bytes = self._size_bytes - self._window.position
        if (
            left_bytes >= LEAST_LEFT_BYTES
            and left_bytes > rate_bytes * _SOON_S
            and rate_bytes < _FAST_BYTES
            and waited_share >= _LEAST_WAITING_SHARE
            and self._may_widen()
            and len(self._seats()) > 1
        ):
            self._main_rate = _Rate(rate_bytes)
            self._climb = Climb(now, rate_bytes)
            self._own(asyncio.create_task(self._watch(), name="fetch ahead"))
            self._decide(now)

    # Handing on

    async def chunks(self) -> AsyncGenerator[Chunk, None]:
        """Yield what is here at the position, or comes without a main transfer."""
        while self._window.is_covered:
            self._news.clear()
            chunk = self._window.take()
            if chunk is not None:
                self._fill()
                self._ahead_bytes -= len(chunk.data)
                yield chunk
            elif self._window.is_covered:
                await self._news.wait()
        self._hold()

    async def close(self) -> None:
        """End all transfers, and drop what they brought."""
        self.end()
        self._transfers.clear()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await ended(asyncio.gather(*self._tasks, return_exceptions=True))
        self._hosts.hold_memory(self, 0)
        if self._ahead_bytes:
            self._hosts.meter.discarded(self._ahead_bytes)
        if self._crash is not None:
            raise self._crash

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error

    # How many connections

    async def _watch(self) -> None:
        """Look at the rates of all connections again and again."""
        before = self._clock()
        while True:
            await asyncio.sleep(_TICK_S)
            now = self._clock()
            for rate in (self._main_rate, *(one.rate for one in self._transfers)):
                rate.tick(now - before)
            before = now
            self._decide(now)

    def _decide(self, now: float) -> None:
        climb = self._climb
        if climb is None:
            return
        is_complete = all(one.received_bytes for one in self._transfers)
        verdict = climb.judge(now, self._total_bytes, is_complete=is_complete)
        if verdict is not None and verdict.was_in_vain and self._may_widen():
            self._choice.was_in_vain(verdict.connections)
        seats = self._seats()
        climb.limit(len(seats))
        left_bytes = self._size_bytes - self._window.position
        if climb.may_try(now) and left_bytes > self._all_rates() * _SOON_S:
            if len(seats) > climb.count:
                climb.try_more(now, len(seats) - climb.count)
            else:
                climb.rest(now)
                self._choice.try_again()
        self._shrink()
        self._fill()

    def _seats(self) -> list[Candidate]:
        """Return the origin of each connection that there may be now."""
        return self._choice.in_turn() if self._may_widen() else []

    @property
    def _count(self) -> int:
        """How many connections there are."""
        return len(self._transfers) + (self._main is not None)

    def _shrink(self) -> None:
        """Give up connections that are too many: those that are furthest ahead."""
        most = 1 if self._climb is None else self._climb.count
        if not self._transfers or self._count <= most:
            return
        wanted = Counter(self._seats()[:most])
        while self._transfers and self._count > most:
            running = self._running()
            too_many = [one for one in self._transfers if running[one.candidate] > wanted[one.candidate]]
            self._drop(max(too_many or self._transfers, key=lambda one: one.segment.start))
            self._hosts.meter.given_up()

    def _running(self) -> Counter[Candidate]:
        """Return how many connections there are to each origin."""
        running = Counter(one.candidate for one in self._transfers)
        if self._main is not None:
            running[self._main] += 1
        return running

    def _drop(self, transfer: _Transfer) -> None:
        self._transfers.remove(transfer)
        self._window.leave(transfer.segment)
        transfer.task.cancel()
        self._news.set()

    def _fill(self) -> None:
        """Begin as many transfers as there may be."""
        if self._climb is None or self._climb.count <= 1:
            self._hold()
            return
        wanted = Counter(self._seats()[: self._climb.count])
        while self._count < self._climb.count:
            running = self._running()
            free = next((one for one in wanted if running[one] < wanted[one]), None)
            if free is None or (segment := self._next_segment(free)) is None:
                break
            self._start(free, segment)
        self._hold()

    def _hold(self) -> None:
        self._hosts.hold_memory(self, self._window.claimed_bytes)

    # One part

    def _next_segment(self, candidate: Candidate) -> Segment | None:
        """Return what a connection to an origin should fetch next, if there is anything."""
        window = self._window
        left = window.left_behind()
        if left is not None:
            left.is_taken = True
            return left
        rate_bytes = self._usual_rate(candidate)
        window.limit_bytes = min(WINDOW_BYTES, self._hosts.free_memory_bytes(self))
        others = [one.load for one in self._transfers]
        start = window.position
        if self._main is not None:
            main = Load(max(0, window.starts_at - window.position), self._main_rate.rate_bytes)
            if not window.segments:
                # The main transfer takes its share as if it were a segment.
                start += next_length(main.rate_bytes, self._size_bytes - start, [Load(0, rate_bytes)])
            else:
                others.append(main)
        unclaimed_bytes = self._size_bytes - max(start, window.frontier)
        segment = window.claim(next_length(rate_bytes, unclaimed_bytes, others), start)
        return segment or self._split(rate_bytes)

    def _split(self, rate_bytes: float) -> Segment | None:
        """Take over the end of what another transfer would bring late."""
        position = self._window.position
        others = [one for one in self._transfers if one.segment.received >= position]
        slowest = max(others, key=lambda one: one.load.left_s, default=None)
        if slowest is None or (kept := split_offset(slowest.load, rate_bytes)) is None:
            return None
        segment = self._window.split(slowest.segment, slowest.segment.received + kept)
        if not kept:
            self._drop(slowest)
        return segment

    def _start(self, candidate: Candidate, segment: Segment) -> None:
        transfer = _Transfer(candidate, segment, self._usual_rate(candidate))
        self._transfers.append(transfer)
        self._hosts.connected(candidate.origin.host, self)
        transfer.task = asyncio.create_task(self._fetch(transfer), name="fetch part")
        self._own(transfer.task)
        transfer.task.add_done_callback(lambda _: self._ended(transfer))

    async def _fetch(self, transfer: _Transfer) -> None:
        candidate, segment = transfer.candidate, transfer.segment
        stop, options = segment.stop, self._asking.options(candidate)
        part = self._asking.item(candidate).part(segment.received, stop, options)
        try:
            async with aclosing(part.chunks()) as chunks:
                async for data in chunks:
                    count = segment.add(Chunk(Sender(candidate.origin.name, part.place), data))
                    transfer.received_bytes += count
                    self._ahead_bytes += len(data)
                    transfer.rate.note(count)
                    self._total_bytes += count
                    self._news.set()
                    is_taken_over = segment.is_whole and segment.stop < stop
                    if is_taken_over or count < len(data) or segment.stop <= self._window.position:
                        break
        except OriginError as error:
            self._note(transfer, error)

    def _note(self, transfer: _Transfer, error: OriginError) -> None:
        """Decide by an error whether an origin is asked for more parts."""
        candidate, origin = transfer.candidate, transfer.candidate.origin
        log.info("origin.part_failed path=%s problem=%s", candidate.source.path, error)
        if error.pause_s is not None:
            self._hosts.pause(origin.host, error.pause_s)
        if isinstance(error, PartsRefused):
            self._hosts.note_unfit(origin.name, candidate.source.path, error.problem)
        elif transfer.received_bytes >= _NO_FAILURE_BYTES:
            self._choice.worked(candidate)
        else:
            self._choice.failed(candidate)

    def _ended(self, transfer: _Transfer) -> None:
        self._hosts.disconnected(transfer.candidate.origin.host, self)
        if transfer.received_bytes:
            self._hosts.meter.fetched(transfer.received_bytes)
        if transfer in self._transfers:
            self._transfers.remove(transfer)
            self._window.leave(transfer.segment)
            self._decide(self._clock())
        self._news.set()

    # Rates

    def _usual_rate(self, candidate: Candidate | None = None) -> float:
        """Return what one connection brings a second: at an origin, or at any if it was not asked yet."""
        rates = [(one.candidate, one.rate.rate_bytes) for one in self._transfers if one.received_bytes]
        if self._main is not None and self._main_rate.rate_bytes:
            rates.append((self._main, self._main_rate.rate_bytes))
        mine = [rate for one, rate in rates if one == candidate] or [rate for _, rate in rates]
        if mine:
            self._last_rate = sum(mine) / len(mine)
        return self._last_rate

    def _all_rates(self) -> float:
        main = self._main_rate.rate_bytes if self._main is not None else 0.0
        return main + sum(one.rate.rate_bytes for one in self._transfers)

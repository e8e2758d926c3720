"""What the processes that share a limit know together: how much may be received, and whose turn it is. Pure.

Credit in bytes grows with time, up to a quarter of a second's worth, and whoever receives spends it.
Transfers of lower priority leave more credit unspent: while one of higher priority takes all
that comes, the credit never grows to where the others may begin.

Within a priority the processes take turns by start-time fair queueing: each has a tag, which grows by
what it takes, divided by the number of its transfers that wait; who has the lowest tag is next.
A process that has not asked for a moment is passed over, so one that died or hangs stops nobody.
"""

import math
import struct
from dataclasses import dataclass, field
from typing import NamedTuple, Self

from proxy.sources.limits.priority import Priority

_MAGIC = b"limit 1\n"
_HEAD = struct.Struct("<8sdd3dQ")
_SEAT = struct.Struct("<Qdd3d3d")
_MOST_SEATS = 64
SIZE_BYTES = _HEAD.size + _MOST_SEATS * _SEAT.size

_LEAST_CHUNK_BYTES = 1024
_MOST_CHUNK_BYTES = 4 * 1024 * 1024
_CHUNKS_A_SECOND = 64
_MOST_CHUNKS = 4
"""At once, for a process that comes late while no other waits."""
_BURST_S = 0.25
_UNSPENT = {Priority.DOCUMENT: 0.0, Priority.CLIENT: 1 / 8, Priority.BACKGROUND: 1 / 2}
"""Which part of the most credit each priority leaves to those above it."""

_PRESENT_S = 0.1
"""For so long after it has asked, a process that waits keeps its turn."""
_SEATED_S = 2.0
"""For so long after it has asked, its limit counts."""
_LONGEST_WAIT_S = 0.03
"""It must ask again well within the time for which it keeps its turn."""
_SHORTEST_WAIT_S = 0.001
_NONE = (0.0, 0.0, 0.0)
_LEAST_RATE_BYTES_S = 1.0
_LARGEST = 2.0**62
"""Bytes of many years; a tag beyond it would not grow by what is added, and so never let others go first."""


class Rules(NamedTuple):
    """What follows from a rate."""

    rate_bytes_s: float
    chunk_bytes: int
    """How much is taken at a time."""
    most_credit_bytes: float

    @classmethod
    def of(cls, rate_bytes_s: float) -> Self:
        """Return the rules for a rate in bytes a second."""
        chunk = int(min(max(rate_bytes_s / _CHUNKS_A_SECOND, _LEAST_CHUNK_BYTES), _MOST_CHUNK_BYTES))
        return cls(rate_bytes_s, chunk, max(rate_bytes_s * _BURST_S, 4.0 * chunk))


class Taken(NamedTuple):
    """What came of asking: some bytes, or none and when to ask again."""

    size_bytes: int
    wait_s: float = 0.0


class Asker(NamedTuple):
    """A process that asks."""

    key: int
    """A random number that no other process has; never 0."""
    rate_bytes_s: float
    """The limit that it was configured with."""


@dataclass(slots=True)
class Seat:
    """What the others know of one process."""

    key: int
    asked_at: float
    rate_bytes_s: float
    waiting: list[float] = field(default_factory=lambda: list(_NONE))
    """How many of its transfers wait, by priority."""
    tags: list[float] = field(default_factory=lambda: list(_NONE))
    """Where it stands in the order, by priority."""

    def is_seated(self, now: float) -> bool:
        """Whether it has asked of late."""
        return 0 <= now - self.asked_at < _SEATED_S

    def waits(self, priority: Priority, now: float) -> bool:
        """Whether it waits for its turn."""
        return self.waiting[priority] > 0 and 0 <= now - self.asked_at < _PRESENT_S


@dataclass(slots=True)
class State:
    """All that the processes share; moments are system-wide monotonic seconds."""

    credit_bytes: float = math.inf
    """As much as there can be, to begin with."""
    filled_at: float = 0.0
    reached: list[float] = field(default_factory=lambda: list(_NONE))
    """The tag of whoever took last, by priority."""
    seats: list[Seat] = field(default_factory=list)

    @classmethod
    def parsed(cls, data: bytes, now: float) -> Self:
        """Return the state that was packed so; a new one for anything else, and for one from the future."""
        if len(data) < _HEAD.size:
            return cls(filled_at=now)
        magic, credit, filled_at, *reached, count = _HEAD.unpack_from(data)
        end = _HEAD.size + count * _SEAT.size
        is_sound = magic == _MAGIC and count <= _MOST_SEATS and len(data) >= end and filled_at < now + 1
        numbers = [credit, filled_at, *reached]
        seats = []
        if is_sound:
            for key, asked_at, rate, *rest in _SEAT.iter_unpack(data[_HEAD.size : end]):
                numbers += (asked_at, rate, *rest)
                seats.append(Seat(key, asked_at, rate, rest[:3], rest[3:]))
                is_sound &= rate >= _LEAST_RATE_BYTES_S
        if not is_sound or not all(abs(number) < _LARGEST for number in numbers):
            return cls(filled_at=now)
        return cls(credit, filled_at, reached, seats)

    def packed(self) -> bytes:
        """Return bytes that `parsed` understands."""
        head = _HEAD.pack(_MAGIC, self.credit_bytes, self.filled_at, *self.reached, len(self.seats))
        seats = (
            _SEAT.pack(one.key, one.asked_at, one.rate_bytes_s, *one.waiting, *one.tags) for one in self.seats
        )
        return head + b"".join(seats)

    def take(self, asker: Asker, priority: Priority, waiting: int, now: float) -> Taken:
        """Take bytes for a process, as many of whose transfers wait at a priority; none until it may."""
        self.seats = [one for one in self.seats if one.is_seated(now) or one.key == asker.key]
        seat = self._seat(asker, now)
        rules = Rules.of(min([asker.rate_bytes_s, *(one.rate_bytes_s for one in self.seats)]))
        self._fill(rules, now)
        if seat is not None and not seat.waits(priority, now):
            seat.tags[priority] = max(seat.tags[priority], self.reached[priority])
        if seat is not None:
            seat.asked_at = now
            seat.waiting = list(_NONE)
            seat.waiting[priority] = waiting
        needed = rules.chunk_bytes + _UNSPENT[priority] * rules.most_credit_bytes
        if self.credit_bytes < needed:
            return Taken(0, _wait((needed - self.credit_bytes) / rules.rate_bytes_s))
        # Where there is enough for all that come before, none of them needs to have woken up first.
        if (
            seat is not None
            and self.credit_bytes < needed + self._before(seat, priority, now) * rules.chunk_bytes
        ):
            return Taken(0, _wait(rules.chunk_bytes / rules.rate_bytes_s / 2))
        spare = int((self.credit_bytes - needed) / rules.chunk_bytes)
        count = rules.chunk_bytes * (1 if self._waiting(asker, now) else min(1 + spare, _MOST_CHUNKS))
        self.credit_bytes -= count
        if seat is not None:
            self.reached[priority] = max(self.reached[priority], seat.tags[priority])
            seat.tags[priority] += count / max(waiting, 1)
            seat.waiting[priority] = waiting - 1
        return Taken(count)

    def _fill(self, rules: Rules, now: float) -> None:
        earned = max(0.0, now - self.filled_at) * rules.rate_bytes_s
        self.credit_bytes = max(0.0, min(rules.most_credit_bytes, self.credit_bytes + earned))
        self.filled_at = max(now, self.filled_at)

    def _seat(self, asker: Asker, now: float) -> Seat | None:
        """Return a process's seat; None when all are taken, and then it goes without an order."""
        for one in self.seats:
            if one.key == asker.key:
                one.rate_bytes_s = asker.rate_bytes_s
                return one
        if len(self.seats) >= _MOST_SEATS:
            return None
        seat = Seat(asker.key, now - _PRESENT_S, asker.rate_bytes_s)
        self.seats.append(seat)
        return seat

    def _waiting(self, asker: Asker, now: float) -> bool:
        """Say whether another process waits, for whatever."""
        return any(one.waits(rank, now) for one in self.seats if one.key != asker.key for rank in Priority)

    def _before(self, seat: Seat, priority: Priority, now: float) -> int:
        """Return how many others wait and come first."""
        mine = seat.tags[priority], seat.key
        return sum(
            (one.tags[priority], one.key) < mine
            for one in self.seats
            if one is not seat and one.waits(priority, now)
        )


def _wait(seconds: float) -> float:
    return min(max(seconds, _SHORTEST_WAIT_S), _LONGEST_WAIT_S)

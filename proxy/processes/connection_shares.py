"""How many connections each worker of a group has, and whose turn it is to take the next.

The figures lie in memory that the group's processes share. Each worker writes its own
alone, so nobody waits for anybody; what a worker reads of the others may be a moment old,
which makes the shares a little uneven and nothing wrong.
"""

import mmap
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

_FIELDS = 2
_FIELD_BYTES = 8
_VACANT = -1
_UNEVEN_BY = 32
"""One part in so many of all connections: a worker may be ahead by that, to take several at a time."""
_PATIENCE_S = 0.05
"""How long a client may wait for the worker whose turn it is."""
_LITTLE_PATIENCE_S = 0.001
"""The same, when that worker has been waited for in vain."""
_DOUBTED_S = 1.0
"""For so long; or until it tells something new."""


class _Place(NamedTuple):
    """What a worker tells of itself."""

    connections: int
    """-1 when it takes none."""
    took_at_ns: int
    """When it took one last, or began; monotonic."""


class ConnectionShares:
    """The shares of a group's workers, by place. To be made before the workers are forked."""

    def __init__(self, workers: int) -> None:
        self._fields = memoryview(mmap.mmap(-1, workers * _FIELDS * _FIELD_BYTES)).cast("q")
        self.workers = workers
        for place in range(workers):
            self.vacate(place)

    def vacate(self, place: int) -> None:
        """Note that no worker is at a place."""
        self.write(place, _Place(_VACANT, 0))

    def share(self, place: int, clock: Callable[[], float] = time.monotonic) -> "WorkerShare":
        """Return the share of the worker at a place."""
        return WorkerShare(self, place, clock)

    def read(self, place: int) -> _Place:
        """Return what is known of a place."""
        at = place * _FIELDS
        return _Place(self._fields[at], self._fields[at + 1])

    def write(self, place: int, told: _Place) -> None:
        """Tell the others of a place."""
        at = place * _FIELDS
        self._fields[at], self._fields[at + 1] = told


class WorkerShare:
    """One worker's share. It counts from when it first tells what it has."""

    def __init__(self, shares: ConnectionShares, place: int, clock: Callable[[], float]) -> None:
        self._shares = shares
        self._place = place
        self._others = [other for other in range(shares.workers) if other != place]
        self._clock = clock
        self._doubted: dict[int, tuple[_Place, float]] = {}
        """What others told when they were waited for in vain, and until when they are doubted."""

    def leaves_for_s(self) -> float:
        """Return for how long a client that waits is left to others; 0 if it is this worker's turn."""
        if self._is_ours([self._shares.read(other) for other in self._others]):
            return 0.0
        if self._doubted and self._is_ours(self._trusted()):
            return _LITTLE_PATIENCE_S
        return _PATIENCE_S

    def _is_ours(self, others: Iterable[_Place]) -> bool:
        """Whether it is our turn beside others: we have fewer, or as many and took none for longer."""
        others = [other for other in others if other.connections != _VACANT]
        if not others:
            return True
        mine = self._shares.read(self._place)
        least = min(other.connections for other in others)
        ahead = mine.connections - least
        even = (mine.connections + sum(other.connections for other in others)) // _UNEVEN_BY
        if ahead != even:
            return ahead < even
        return all(mine.took_at_ns <= other.took_at_ns for other in others if other.connections == least)

    def took(self) -> None:
        """Note that it took a connection just now."""
        mine = self._shares.read(self._place)
        self._shares.write(self._place, _Place(mine.connections, self._now_ns()))

    def passed_over(self) -> None:
        """Doubt the others until they tell something new, or for a while."""
        until_s = self._clock() + _DOUBTED_S
        for other in self._others:
            self._doubted[other] = self._shares.read(other), until_s

    def told(self, connections: int) -> None:
        """Note how many connections it has."""
        mine = self._shares.read(self._place)
        since_ns = self._now_ns() if mine.connections == _VACANT else mine.took_at_ns
        self._shares.write(self._place, _Place(connections, since_ns))

    def leave(self) -> None:
        """Note that it takes no more."""
        self._shares.vacate(self._place)

    def _trusted(self) -> list[_Place]:
        """Return what those tell who are not doubted, or not any more."""
        now_s = self._clock()
        trusted = []
        for other in self._others:
            place = self._shares.read(other)
            told, until_s = self._doubted.get(other, (None, 0.0))
            if told != place or now_s >= until_s:
                self._doubted.pop(other, None)
                trusted.append(place)
        return trusted

    def _now_ns(self) -> int:
        return int(self._clock() * 1e9)

"""The connections over which one item comes now, and how many bytes a second each brings.

One may be that of the main transfer; the others fetch parts ahead of it. Opens and closes none.
"""

import asyncio
import math
from collections import Counter

from proxy.sources.candidates import Candidate
from proxy.sources.segments.lengths import Load
from proxy.sources.segments.window import Segment

_RATE_OVER_S = 0.5
_LAGS_AT_SHARE = 0.25
"""A main transfer that brings less than this share of what a part does is not slow by chance."""
_TRICKLE_BYTES = 16 * 1024
"""A second. Less than this is a fault of a connection, where others of the same item were far faster."""
_TRICKLES_AT_SHARE = 1 / 64
_REMEMBERED_S = 20.0
"""For about so long it matters how fast the best one was."""


class Rate:
    """Bytes a second, of late."""

    def __init__(self, rate_bytes: float) -> None:
        self.rate_bytes = rate_bytes
        self._count = 0

    def note(self, count: int) -> None:
        """Take note of bytes that have come."""
        self._count += count

    def tick(self, seconds: float) -> None:
        """Take in what has come in the last so many seconds."""
        weight = 1 - math.exp(-seconds / _RATE_OVER_S)
        self.rate_bytes += weight * (self._count / seconds - self.rate_bytes)
        self._count = 0


class Transfer:
    """One part on its way."""

    task: asyncio.Task[None]

    def __init__(self, candidate: Candidate, segment: Segment, rate_bytes: float, began_at: float) -> None:
        self.candidate = candidate
        self.began_at = began_at
        self.is_connected = True
        """Whether it counts as a connection to its host."""
        self.segment = segment
        self.rate = Rate(rate_bytes)
        self.received_bytes = 0

    @property
    def load(self) -> Load:
        """What it has still to fetch, and how fast it is."""
        return Load(self.segment.left_bytes, self.rate.rate_bytes)


class Connections:
    """The main transfer, if it runs, and those of parts."""

    def __init__(self) -> None:
        self.main: Candidate | None = None
        """The origin of the main transfer, while it runs."""
        self.main_works = False
        """Whether that has brought something."""
        self.main_rate = Rate(0.0)
        self.transfers: list[Transfer] = []
        """Those of parts."""
        self._last_rate = 0.0
        self._rate_at: dict[Candidate | None, float] = {}
        """What a connection to each origin brought last."""
        self._part_rate = 0.0
        """What one part brought a second when parts came last."""
        self._best_rate = 0.0
        """What the best of all brought of late."""

    def __len__(self) -> int:
        return len(self.transfers) + (self.main is not None)

    @property
    def rate_bytes(self) -> float:
        """What all bring together in a second."""
        main = self.main_rate.rate_bytes if self.main is not None else 0.0
        return main + sum(one.rate.rate_bytes for one in self.transfers)

    @property
    def lagging_rate(self) -> float | None:
        """What a part brings a second, where the main transfer brings far less; else None."""
        lags = self.main is not None and self.main_rate.rate_bytes < _LAGS_AT_SHARE * self._part_rate
        return self._part_rate if lags else None

    @property
    def have_all_brought_something(self) -> bool:
        """Whether there are bytes of each transfer of a part."""
        return all(one.received_bytes for one in self.transfers)

    def others_work(self, transfer: Transfer) -> bool:
        """Whether the origin of a transfer sends the item over another connection too."""
        return transfer.candidate in self._working(transfer)

    def working_at(self, host: str) -> int:
        """Return how many at a host have brought something."""
        return sum(one.origin.host == host for one in self._working())

    def usual_rate(self, candidate: Candidate | None = None) -> float:
        """Return what one connection brings a second: at an origin, or at any if it was not asked yet."""
        rates = self._rates()
        mine = [rate for one, rate in rates if one == candidate]
        if not mine and candidate in self._rate_at:
            return self._rate_at[candidate]
        mine = mine or [rate for _, rate in rates]
        if mine:
            self._last_rate = sum(mine) / len(mine)
        return self._last_rate

    def _rates(self) -> list[tuple[Candidate, float]]:
        """Return what each connection brings that has brought something."""
        rates = [(one.candidate, one.rate.rate_bytes) for one in self.transfers if one.received_bytes]
        if self.main is not None and self.main_rate.rate_bytes:
            rates.append((self.main, self.main_rate.rate_bytes))
        return rates

    def tick(self, seconds: float) -> None:
        """Have all rates take in what has come in the last so many seconds."""
        self._best_rate *= math.exp(-seconds / _REMEMBERED_S)
        for rate in (self.main_rate, *(one.rate for one in self.transfers)):
            rate.tick(seconds)
            self._best_rate = max(self._best_rate, rate.rate_bytes)
        self._rate_at.update(self._rates())
        of_parts = [one.rate.rate_bytes for one in self.transfers if one.received_bytes]
        if of_parts:
            self._part_rate = sum(of_parts) / len(of_parts)

    def lacking(self, wanted: Counter[Candidate]) -> list[Candidate]:
        """Return the origins to which there are fewer connections than are wanted."""
        running = self._at_each()
        return [one for one in wanted if running[one] < wanted[one]]

    def least_wanted(self, wanted: Counter[Candidate]) -> Transfer:
        """Return the transfer to give up first.

        It is one that has brought nothing, else the furthest ahead, of those at origins with too many
        connections if there are such.
        """
        running = self._at_each()
        too_many = [one for one in self.transfers if running[one.candidate] > wanted[one.candidate]]
        return max(too_many or self.transfers, key=lambda one: (not one.received_bytes, one.segment.start))

    def trickling(self) -> Transfer | None:
        """Return a transfer that has begun, and brings next to nothing while others were far faster."""
        least_bytes = min(_TRICKLE_BYTES, _TRICKLES_AT_SHARE * self._best_rate)
        begun = (one for one in self.transfers if one.received_bytes)
        return next((one for one in begun if one.rate.rate_bytes < least_bytes), None)

    def silent(self, since: float) -> Transfer | None:
        """Return a transfer that began before a moment, and has brought nothing."""
        return next((one for one in self.transfers if not one.received_bytes and one.began_at <= since), None)

    def slowest(self, position: int) -> Transfer | None:
        """Return the transfer that will end last, of those that go on beyond a position."""
        others = [one for one in self.transfers if one.segment.received >= position]
        return max(others, key=lambda one: one.load.left_s, default=None)

    def _working(self, but: Transfer | None = None) -> list[Candidate]:
        """Return the origin of each that has brought something."""
        working = [one.candidate for one in self.transfers if one is not but and one.received_bytes]
        return [*working, self.main] if self.main is not None and self.main_works else working

    def _at_each(self) -> Counter[Candidate]:
        """Return how many there are to each origin."""
        running = Counter(one.candidate for one in self.transfers)
        if self.main is not None:
            running[self.main] += 1
        return running

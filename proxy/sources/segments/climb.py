"""How many connections are worth it for one item: found by trying. Pure; whoever asks brings the time.

One connection more is tried, then as many again, for as long as each adds a good part of what
one brought before. What adds too little is taken back. A quick look decides what is clear,
a longer one the rest: a connection is slow at first, and bytes come in bursts.
"""

from typing import NamedTuple

QUICK_LOOK_S = 0.1
LONG_LOOK_S = 1.0
_LONGEST_START_S = 2.0
"""Connections that have sent nothing after that are judged all the same."""
AGAIN_AFTER_S = 15.0
"""The others on a link, and the origins, may have changed by then."""
_CLEAR_GAIN = 0.7
_LEAST_GAIN = 0.3
"""Of what one connection brought before, each further one has to bring so much."""


class Verdict(NamedTuple):
    """How many connections there should be, and whether one that was tried alone was in vain."""

    connections: int
    was_in_vain: bool


class Climb:
    """Decides the number of connections of one item, from one up."""

    def __init__(self, now: float, rate_bytes: float) -> None:
        self.count = 1
        """How many there should be."""
        self._rate_bytes = rate_bytes
        """What all brought together before the trial."""
        self._before = 0
        """How many there were before the trial that is running; 0 without one."""
        self._step = 1
        self._seen_from: tuple[float, int] | None = None
        self._is_sure = False
        """Whether the rate before was seen for long."""
        self._is_looking_back = False
        """Whether it is being seen again, after a trial that did not show anything."""
        self._began_at = now
        self._rests_until = now

    def __repr__(self) -> str:
        trial = f", trying since {self._before}" if self._before else ""
        return f"Climb({self.count}{trial}, {self._rate_bytes:.0f} bytes/s before)"

    @property
    def is_trying(self) -> bool:
        """Whether the last connections have still to prove that they are worth it."""
        return self._before > 0

    def may_try(self, now: float) -> bool:
        """Whether more connections may be tried now."""
        return not self.is_trying and not self._is_looking_back and now >= self._rests_until

    def try_more(self, now: float, room: int) -> int:
        """Begin a trial with at most `room` further connections; return how many those are."""
        added = min(self._step, room)
        self._before, self.count = self.count, self.count + added
        self._seen_from, self._began_at = None, now
        return added

    def rest(self, now: float) -> None:
        """Try nothing for a while: there is nothing left that could be tried."""
        self._rests_until = now + AGAIN_AFTER_S
        self._step = 1

    def limit(self, count: int) -> None:
        """Have no more than so many; a trial ends with that."""
        if count < self.count:
            self.count = max(1, count)
            self._before = 0
            self._look_back()

    def judge(self, now: float, total_bytes: int, *, is_complete: bool) -> Verdict | None:
        """Judge the trial that is running by all bytes that have come; None while it goes on.

        `is_complete` says whether each of the connections has sent something.
        """
        if not self.is_trying and not self._is_looking_back:
            return None
        if self._seen_from is None:
            if is_complete or now - self._began_at >= _LONGEST_START_S:
                self._seen_from = now, total_bytes
            return None
        seen_s = now - self._seen_from[0]
        if seen_s < (LONG_LOOK_S if self._is_looking_back else QUICK_LOOK_S):
            return None
        rate_bytes = (total_bytes - self._seen_from[1]) / seen_s
        if self._is_looking_back:
            self._rate_bytes, self._is_sure, self._is_looking_back = rate_bytes, True, False
            return None
        return self._conclude(now, seen_s, rate_bytes)

    def _conclude(self, now: float, seen_s: float, rate_bytes: float) -> Verdict | None:
        """End the trial if the rate that was seen so long is clear enough."""
        gain = (rate_bytes - self._rate_bytes) * self._before / max(1.0, self._rate_bytes)
        gain_of_each = gain / (self.count - self._before)
        if seen_s < LONG_LOOK_S and gain_of_each < _CLEAR_GAIN:
            return None
        if gain_of_each >= _LEAST_GAIN:
            self._rate_bytes, self._step, self._before = rate_bytes, self.count, 0
            self._is_sure = seen_s >= LONG_LOOK_S
            return Verdict(self.count, was_in_vain=False)
        was_in_vain = self._is_sure and self.count - self._before == 1
        self.count, self._step, self._before = self._before, 1, 0
        self._began_at = now
        self._look_back()
        return Verdict(self.count, was_in_vain)

    def _look_back(self) -> None:
        """See once more what those that are there bring by themselves."""
        self._is_looking_back, self._seen_from = True, None

"""How many connections are worth it: those that bring more stay, those that do not are given up."""

from proxy.sources.segments.climb import AGAIN_AFTER_S, Climb, Verdict
from proxy.sources.segments.lengths import MOST_BYTES, Load, next_length, split_offset
from proxy.sources.segments.window import LEAST_BYTES

MOST = 4


class Link:
    """A link of a rate, over which each connection has a rate of its own at most; time passes in steps."""

    def __init__(self, of_each: float, in_all: float = float("inf")) -> None:
        self.of_each = of_each
        self.in_all = in_all
        self.now = 100.0
        self.total = 0.0
        self.climb = Climb(self.now, self.rate(1))
        self.in_vain = 0

    def rate(self, count: int) -> float:
        return min(self.in_all, count * self.of_each)

    def run(self, seconds: float) -> int:
        until = self.now + seconds
        while self.now < until:
            self.now += 0.03
            self.total += 0.03 * self.rate(self.climb.count)
            verdict = self.climb.judge(self.now, int(self.total), is_complete=True)
            if verdict is not None and verdict.was_in_vain:
                self.in_vain += 1
                self.climb.rest(self.now)
            elif self.climb.may_try(self.now) and self.climb.count < MOST:
                self.climb.try_more(self.now, MOST - self.climb.count)
        return self.climb.count


def test_as_many_as_may_be_are_there_at_once_where_each_brings_more() -> None:
    assert Link(6e6).run(0.5) == MOST


def test_one_is_enough_where_one_fills_the_link() -> None:
    link = Link(6e6, 6e6)
    assert link.run(5) == 1
    assert link.in_vain == 1


def test_those_that_bring_too_little_are_given_up() -> None:
    assert Link(6e6, 13e6).run(10) == 2


def test_another_is_tried_again_after_a_while() -> None:
    link = Link(6e6, 6e6)
    link.run(5)
    link.in_all = 100e6
    assert link.run(AGAIN_AFTER_S) == MOST


def test_connections_that_never_begin_are_judged_all_the_same() -> None:
    """Not before the rate without them was seen for long."""
    climb, now = Climb(0.0, 1e6), 0.0
    verdicts: list[Verdict] = []
    while len(verdicts) < 2:
        now += 0.1
        if climb.may_try(now):
            climb.try_more(now, 3)
        if verdict := climb.judge(now, int(now * 1e6), is_complete=not climb.is_trying):
            verdicts.append(verdict)
    assert verdicts == [Verdict(1, was_in_vain=False), Verdict(1, was_in_vain=True)]
    assert now < 10


def test_fewer_may_be_allowed_meanwhile() -> None:
    climb = Climb(0.0, 1e6)
    assert climb.try_more(0.0, 3) == 1
    climb.limit(1)
    assert (climb.count, climb.is_trying) == (1, False)
    climb.limit(0)
    assert climb.count == 1


def test_a_segment_lasts_some_seconds_and_the_last_ones_end_together() -> None:
    rate = 3_000_000
    assert next_length(rate, 10**9, [Load(0, rate)] * 3) == 2 * rate
    assert next_length(10**9, 10**9, []) == MOST_BYTES
    assert next_length(1.0, 10**9, []) == LEAST_BYTES
    one = next_length(rate, 6 * rate, [Load(2 * rate, rate)])
    assert 1.9 * rate < one < 4.1 * rate
    assert next_length(rate, 4 * rate, [Load(0, rate)]) == 2 * rate


def test_who_is_slow_keeps_what_it_can_bring_in_time() -> None:
    assert split_offset(Load(9_000_000, 1_000_000), 2_000_000) == 3_000_000
    assert split_offset(Load(9_000_000, 0.0), 2_000_000) == 0
    assert split_offset(Load(1_000_000, 4_000_000), 4_000_000) is None
    assert split_offset(Load(100_000, 1.0), 4_000_000) is None

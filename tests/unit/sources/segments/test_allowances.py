"""How many connections a host allows, and for how long that is believed."""

import pytest
from support.running import Clock

from proxy.sources.segments.allowances import LONGEST_REST_S, Allowances

HOST = "images.example"


@pytest.fixture
def allowances(clock: Clock) -> Allowances:
    return Allowances(clock)


def rest_after(allowances: Allowances, clock: Clock, connections: int) -> float:
    """Have one more than so many refused, and return after how long more are tried."""
    allowances.refused(HOST, connections, is_plain=True)
    began = clock.now
    while allowances.most(HOST, 8) < 8:
        clock.now += 0.5
    return clock.now - began


def test_a_host_that_refused_more_is_asked_for_as_many_as_worked_for_a_while(
    allowances: Allowances, clock: Clock
) -> None:
    assert allowances.most(HOST, 4) == 4
    found = allowances.refused(HOST, 2, is_plain=True)
    assert found is not None
    assert (found.connections, found.rest_s) == (2, 15)
    assert (allowances.most(HOST, 4), allowances.most(HOST, 1)) == (2, 1)
    assert allowances.most("another.example", 4) == 4
    clock.now += 15
    assert allowances.most(HOST, 4) == 4


def test_it_is_asked_later_and_later(allowances: Allowances, clock: Clock) -> None:
    rests = [rest_after(allowances, clock, 2) for _ in range(8)]
    assert rests == [15, 30, 60, 120, 240, 480, LONGEST_REST_S, LONGEST_REST_S]
    clock.now += LONGEST_REST_S
    assert rest_after(allowances, clock, 2) == 15, "it is another day"


def test_what_was_asked_before_a_refusal_says_nothing_new(allowances: Allowances) -> None:
    assert allowances.refused(HOST, 2, is_plain=True) is not None
    assert allowances.refused(HOST, 3, is_plain=True) is None
    assert allowances.refused(HOST, 2, is_plain=True) is None
    found = allowances.refused(HOST, 1, is_plain=True)
    assert found is not None
    assert (found.connections, found.rest_s) == (1, 15)


def test_a_refusal_of_as_many_as_worked_is_soon_over_unless_it_comes_again_and_again(
    allowances: Allowances, clock: Clock
) -> None:
    """A connection that was closed just now may count there still: that must not add up."""
    allowances.worked(HOST, 3)
    assert allowances.refused(HOST, 3, is_plain=True) is not None, "three work, and no more"
    assert allowances.refused(HOST, 2, is_plain=True) is None
    assert allowances.most(HOST, 4) == 2
    clock.now += 0.5
    assert allowances.most(HOST, 4) == 3
    for _ in range(4):
        assert allowances.refused(HOST, 2, is_plain=True) is None
        clock.now += 10
    found = allowances.refused(HOST, 2, is_plain=True)
    assert found is not None
    assert (found.connections, found.rest_s) == (2, 16)


def test_more_that_work_are_the_end_of_it(allowances: Allowances) -> None:
    allowances.refused(HOST, 2, is_plain=True)
    allowances.worked(HOST, 2)
    assert allowances.most(HOST, 4) == 2
    allowances.worked(HOST, 3)
    assert allowances.most(HOST, 4) == 4


def test_one_answer_that_failed_may_be_chance(allowances: Allowances, clock: Clock) -> None:
    """A status like 500, or a connection that was reset: the second one, a moment later, is none."""
    assert allowances.refused(HOST, 1, is_plain=False) is None
    assert allowances.refused(HOST, 1, is_plain=False) is None, "asked at the same time"
    assert allowances.most(HOST, 4) == 1
    clock.now += 0.5
    assert allowances.most(HOST, 4) == 4
    found = allowances.refused(HOST, 1, is_plain=False)
    assert found is not None
    assert (found.connections, found.rest_s) == (1, 15)

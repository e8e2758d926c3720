"""When an origin is asked for all of an item again, because it may be the range that it does not like."""

import pytest

from proxy.sources.errors import (
    OriginAbsent,
    OriginError,
    OriginForbidden,
    OriginMisbehaved,
    OriginUnreachable,
    WrongLength,
)
from proxy.sources.http.errors import OriginHungUp, OriginStatus
from proxy.sources.http.range_refusals import RangeRefusals

WRONG_LENGTH = WrongLength("a", 100, 101)


@pytest.mark.parametrize(
    "error", [OriginStatus("a", 416, "no"), OriginMisbehaved("a", "other bytes"), WRONG_LENGTH]
)
def test_a_range_that_is_answered_with_something_else_may_be_what_is_wrong(error: OriginError) -> None:
    refusals = RangeRefusals()
    assert refusals.start(50) == 50
    assert refusals.note(50, error, is_page=False)
    assert refusals.start(50) == 0
    assert not refusals.note(50, error, is_page=False)
    assert refusals.start(50) == 50


def test_what_was_asked_for_from_the_beginning_has_no_range_to_blame() -> None:
    refusals = RangeRefusals()
    assert not refusals.note(0, OriginMisbehaved("a", "nonsense"), is_page=False)


def test_a_login_page_hides_every_part() -> None:
    """Asking for all of it would bring the page again, and forget that the origin contradicts itself."""
    refusals = RangeRefusals()
    assert not refusals.note(50, WRONG_LENGTH, is_page=True)
    assert refusals.start(50) == 50


def test_one_connection_that_breaks_is_an_accident_and_a_second_one_may_be_the_range() -> None:
    refusals = RangeRefusals()
    hung_up = OriginHungUp("a", "it hung up")
    assert not refusals.note(50, hung_up, is_page=False)
    assert refusals.start(50) == 50
    assert refusals.note(50, hung_up, is_page=False)
    assert refusals.start(50) == 0


def test_an_origin_out_of_reach_says_nothing_about_ranges() -> None:
    refusals = RangeRefusals()
    for _ in range(3):
        assert not refusals.note(50, OriginUnreachable("a", "no connection"), is_page=False)
        assert refusals.start(50) == 50


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_who_is_busy_is_asked_for_the_rest_again_and_only_then_for_all(status: int) -> None:
    """An item is not to begin again because other transfers have all connections that an origin allows."""
    refusals, busy = RangeRefusals(), OriginStatus("a", status, "busy")
    assert [refusals.note(50, busy, is_page=False) for _ in range(5)] == [False, False, False, True, False]


def test_who_answers_otherwise_in_between_is_not_busy_all_the_time() -> None:
    refusals, busy = RangeRefusals(), OriginStatus("a", 503, "busy")
    errors = [busy, busy, busy, OriginHungUp("a", "it hung up"), busy, busy, busy]
    assert not any(refusals.note(50, error, is_page=False) for error in errors)


REFUSALS = [OriginForbidden("a", "no"), OriginAbsent("a", "none"), OriginStatus("a", 500, "broken")]


def starts(refusals: RangeRefusals, error: OriginError, times: int, *, has_given: bool) -> list[int]:
    """Return from where an origin is asked after each of so many refusals."""
    found = []
    for _ in range(times):
        refusals.note(50, error, is_page=False, has_given=has_given)
        found.append(refusals.start(50))
    return found


@pytest.mark.parametrize("error", REFUSALS, ids=str)
def test_who_refuses_the_rest_of_what_it_gave_is_asked_for_it_again(error: OriginError) -> None:
    """And then for all, once."""
    refusals = RangeRefusals()
    assert starts(refusals, error, 4, has_given=True) == [50, 50, 0, 50]
    refusals.worked()
    assert starts(refusals, error, 3, has_given=True) == [50, 50, 0]
    assert starts(RangeRefusals(), error, 2, has_given=False) == [0, 50]


@pytest.mark.parametrize("error", REFUSALS[:2], ids=str)
def test_who_denies_the_rest_and_all_is_believed(error: OriginError) -> None:
    refusals = RangeRefusals()
    told = [refusals.note(50, error, is_page=False, has_given=True) for _ in range(5)]
    assert told == [True, True, True, False, False]


@pytest.mark.parametrize("error", REFUSALS[:2], ids=str)
def test_such_a_refusal_is_not_held_against_the_origin(error: OriginError) -> None:
    """It would be taken for one that has nothing, or that gives nothing."""
    assert RangeRefusals().note(50, error, is_page=False, has_given=True)

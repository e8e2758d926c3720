"""When an origin is asked for all of an item again, because it may be the range that it does not like."""

import pytest

from proxy.sources.errors import OriginError, OriginMisbehaved, OriginUnreachable, WrongLength
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

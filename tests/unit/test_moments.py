"""Moments by a clock that may be set: nothing waits or lasts longer than it was meant to."""

import math

import pytest

from proxy.moments import NO_PAUSE, Pause, lasts_until, lies_ahead, within

HOUR = 3600.0
NOW = 1.8e9


@pytest.mark.parametrize(
    ("now", "is_on"),
    [
        (NOW, True),
        (NOW + 14, True),
        (NOW + 15, False),
        (NOW + 2 * HOUR, False),
        (NOW - 1, False),
        (NOW - 2 * HOUR, False),
        (0.0, False),
        (4.1e9, False),
    ],
)
def test_a_pause_is_over_in_time_and_when_the_clock_was_set_back(now: float, *, is_on: bool) -> None:
    assert Pause(NOW, 15).is_on(now) is is_on
    assert not NO_PAUSE.is_on(now)


@pytest.mark.parametrize(
    ("until", "lasts"),
    [(NOW, False), (NOW - 1, False), (NOW + 60, True), (NOW + 64, True), (NOW + 66, False), (4.1e9, False)],
)
def test_what_lasts_longer_than_it_could_was_written_by_a_clock_that_was_ahead(
    until: float, *, lasts: bool
) -> None:
    assert lasts_until(until, NOW, 60) is lasts


@pytest.mark.parametrize(
    ("moment", "ahead", "lately"),
    [
        (NOW, False, True),
        (NOW + 4, False, True),
        (NOW + 6, True, False),
        (NOW - 59, False, True),
        (NOW - 60, False, False),
        (-math.inf, False, False),
    ],
)
def test_what_is_still_to_come_was_not_lately(moment: float, *, ahead: bool, lately: bool) -> None:
    assert lies_ahead(moment, NOW) is ahead
    assert within(moment, NOW, 60) is lately

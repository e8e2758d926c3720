"""When rules are due, and in which hours they may transfer."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.jobs.schedule import Window, parse_schedule

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3600.0


def at(text: str, zone: ZoneInfo = BERLIN) -> float:
    """Return Unix seconds of a local time."""
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def local(moment: float | None) -> str:
    assert moment is not None
    return datetime.fromtimestamp(moment, BERLIN).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "last", "due"),
    [
        ("17 3 * * *", "2026-05-04 03:17", "2026-05-05 03:17"),
        ("17 3 * * *", "2026-05-04 03:20", "2026-05-05 03:17"),
        ("daily", "2026-05-04 12:00", "2026-05-05 00:00"),
        ("hourly", "2026-05-04 12:00", "2026-05-04 13:00"),
        ("weekly", "2026-05-04 12:00", "2026-05-10 00:00"),
        ("every 6h", "2026-05-04 12:00", "2026-05-04 18:00"),
        ("every 90m", "2026-05-04 12:00", "2026-05-04 13:30"),
        # Clocks go forward over half past two: it comes all the same.
        ("30 2 * * *", "2026-03-28 12:00", "2026-03-29 03:00"),
        # And back: it comes once.
        ("30 2 * * *", "2026-10-24 12:00", "2026-10-25 02:30"),
        ("30 2 * * *", "2026-10-25 02:30", "2026-10-26 02:30"),
    ],
)
def test_the_next_moment_follows_the_last_run(text: str, last: str, due: str) -> None:
    assert local(parse_schedule(text, BERLIN).due_at(at(last), at(last))) == due


def test_what_was_missed_is_due_now_and_once() -> None:
    schedule, now = parse_schedule("0 3 * * *", BERLIN), at("2026-05-09 17:00")
    assert schedule.due_at(at("2026-05-04 03:00"), now) == now
    assert local(schedule.due_at(now, now)) == "2026-05-10 03:00"


def test_a_first_run_waits_for_a_time_of_day_but_not_for_an_interval() -> None:
    now = at("2026-05-09 17:00")
    assert local(parse_schedule("0 3 * * *", BERLIN).due_at(None, now)) == "2026-05-10 03:00"
    assert parse_schedule("every 6h").due_at(None, now) == now


def test_nothing_is_never_due() -> None:
    assert parse_schedule(" ").due_at(None, 0.0) is None


@pytest.mark.parametrize(
    "text", ["every", "every 0h", "every 5 parsecs", "61 * * * *", "* * *", "noon", "0 0 30 2 *"]
)
def test_what_is_no_schedule_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match='write "every 6h"'):
        parse_schedule(text)


@pytest.mark.parametrize(
    ("now", "opens", "closes"),
    [
        ("2026-05-04 21:59", "2026-05-04 22:00", "2026-05-05 06:00"),
        ("2026-05-04 22:00", "2026-05-04 22:00", "2026-05-05 06:00"),
        ("2026-05-05 05:59", "2026-05-05 05:59", "2026-05-05 06:00"),
        ("2026-05-05 06:00", "2026-05-05 22:00", "2026-05-06 06:00"),
    ],
)
def test_a_window_may_span_midnight(now: str, opens: str, closes: str) -> None:
    window = Window.parse("22:00-06:00", BERLIN)
    assert local(window.opens_at(at(now))) == opens
    assert local(window.closes_at(at(now))) == closes


def test_no_window_is_always_open() -> None:
    window = Window.parse("")
    assert window.opens_at(7.0) == 7.0
    assert window.closes_at(7.0) is None


@pytest.mark.parametrize("text", ["22-6", "24:00-06:00", "22:00", "22:60-06:00", "night"])
def test_what_is_no_window_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match='such as "22:00-06:00"'):
        Window.parse(text)


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_a_window_is_open_from_when_it_opens_until_it_closes(start: int, end: int, moment: datetime) -> None:
    window, now = Window(start, end, BERLIN), moment.timestamp()
    opens_at = window.opens_at(now)
    assert now <= opens_at <= now + 25 * HOUR
    assert window.opens_at(opens_at) == opens_at
    closes_at = window.closes_at(opens_at)
    if start != end:
        assert closes_at is not None
        assert opens_at < closes_at
        # The hour that daylight saving repeats or leaves out may hold both ends.
        assert (
            window.opens_at(closes_at) > closes_at or closes_at - opens_at <= HOUR or abs(start - end) < 120
        )


@pytest.mark.parametrize("text", ["every 6h", "17 3 * * *", "weekly"])
def test_what_began_in_times_to_come_is_due(text: str) -> None:
    """A clock was ahead: nobody knows when that was."""
    now = 1.8e9
    schedule = parse_schedule(text, UTC)
    for ahead_s in (7200.0, 172800.0, 2.3e9):
        assert schedule.due_at(now + ahead_s, now) == now
    assert schedule.due_at(now, now) != now

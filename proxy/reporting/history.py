"""What was counted, by the hour, for the last five weeks: kept in one file beside the counters.

    stats/hours.json    version, names of counters, and of each hour its number since 1970 and counts

Counters know the last day by five minutes. Once in a while the keeper writes down what they say of its
whole hours, so that nothing is counted twice, and requests pay nothing for it. Blocks.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from proxy.counting.tally import STEP_S, STEPS
from proxy.counting.totals import Totals
from proxy.reporting.figures import DAY_S, HOUR_S
from proxy.store.schema import Schema, Unreadable
from proxy.system.durable import write_file

KEPT_HOURS = 35 * 24
_FILE = "hours.json"
_LARGEST_BYTES = 4 * 1024 * 1024
_Hours = dict[int, dict[str, int]]


@dataclass(frozen=True, slots=True)
class _Book:
    names: tuple[str, ...] = ()
    hours: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Counts by the number of the hour."""


_BOOK = Schema(_Book)


class Span(NamedTuple):
    """How much of the past is shown, and how finely."""

    title: str
    seconds: float
    point_s: int
    is_by_hour: bool
    """Whether it needs more than the counters know of the last day."""


SPANS = {
    "day": Span("Last day", DAY_S, 1800, is_by_hour=False),
    "hours": Span("Last 6 hours", 6 * HOUR_S, STEP_S, is_by_hour=False),
    "week": Span("Last week", 7 * DAY_S, 3 * 3600, is_by_hour=True),
    "month": Span("Last month", 30 * DAY_S, 12 * 3600, is_by_hour=True),
}

Points = list[tuple[float, dict[str, int]]]
"""Starts of equal lengths of time, in Unix seconds, and what was counted in each."""


def write_down_hours(folder: Path, totals: Totals, now: float) -> None:
    """Write down the whole hours of the last day; those of which nothing is known any more stay as they are.

    Raises OSError.
    """
    hours = read_hours(folder)
    merged = _merged(hours, _hours_of(totals, int(now // HOUR_S) - 1, now))
    first = int(now // HOUR_S) - KEPT_HOURS
    kept = {hour: counts for hour, counts in merged.items() if hour > first}
    if kept == hours:
        return
    names = tuple(dict.fromkeys(name for counts in kept.values() for name in counts))
    book = _Book(
        names, {str(hour): tuple(counts.get(name, 0) for name in names) for hour, counts in kept.items()}
    )
    write_file(folder / _FILE, json.dumps(_BOOK.encode(book)).encode())


def read_hours(folder: Path) -> _Hours:
    """Return what is written down, by the number of the hour; nothing if it cannot be read."""
    try:
        with (folder / _FILE).open("rb") as file:
            book = _BOOK.decode_text(file.read(_LARGEST_BYTES))
    except OSError:
        return {}
    if isinstance(book, Unreadable):
        return {}
    return {
        int(hour): dict(zip(book.names, counts, strict=False))
        for hour, counts in book.hours.items()
        if hour.isdecimal() and len(counts) == len(book.names)
    }


def points_of(span: Span, totals: Totals, folder: Path, now: float) -> Points:
    """Return what was counted in a span, by its points, the last of which may not be over."""
    counted = _by_hour(totals, folder, now) if span.is_by_hour else totals.all_mirrors.series(now, STEPS)
    begin = (now - span.seconds) // span.point_s * span.point_s + span.point_s
    starts = range(int(begin), int(now) + 1, span.point_s)
    sums: dict[int, dict[str, int]] = {
        start: dict.fromkeys(totals.all_mirrors.total(), 0) for start in starts
    }
    for at, counts in counted:
        start = int(at // span.point_s * span.point_s)
        if start in sums:
            for name, count in counts.items():
                sums[start][name] = sums[start].get(name, 0) + count
    return [(float(start), counts) for start, counts in sums.items()]


def total_of(points: Points) -> dict[str, int]:
    """Return the sum of all points."""
    total: dict[str, int] = {}
    for _, counts in points:
        for name, count in counts.items():
            total[name] = total.get(name, 0) + count
    return total


def _by_hour(totals: Totals, folder: Path, now: float) -> Points:
    hours = _merged(read_hours(folder), _hours_of(totals, int(now // HOUR_S), now))
    return [(hour * HOUR_S, counts) for hour, counts in sorted(hours.items())]


def _merged(written: _Hours, counted: _Hours) -> _Hours:
    """Return of each hour what says more: counters know only the end of their oldest, and may be lost."""
    hours = dict(written)
    for hour, counts in counted.items():
        if any(counts.values()) and sum(counts.values()) >= sum(hours.get(hour, {}).values()):
            hours[hour] = counts
    return hours


def _hours_of(totals: Totals, last: int, now: float) -> _Hours:
    """Return what counters know by the hour, up to number `last`."""
    hours: _Hours = {}
    for at, counts in totals.all_mirrors.series(now, STEPS):
        hour = int(at // HOUR_S)
        if hour <= last:
            sums = hours.setdefault(hour, dict.fromkeys(counts, 0))
            for name, count in counts.items():
                sums[name] += count
    return hours

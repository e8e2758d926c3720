"""When a rule is due, and in which hours it may transfer: pure arithmetic with moments.

A schedule is a cron expression of five fields ("17 3 * * *"), one of "hourly",
"daily", "weekly", or an interval ("every 6h"); empty means never by itself.
Cron fields and windows are in local time, with daylight saving as Debian's cron
has it (cronsim).
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol, Self

from cronsim import CronSim, CronSimError

from proxy.moments import lies_ahead

_NAMED = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 0"}
_INTERVAL = re.compile(r"every\s+(\d{1,6})\s*(m|h|d)")
_UNIT_S = {"m": 60.0, "h": 3600.0, "d": 86400.0}
_WINDOW = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]):([0-5]\d)")
_DAY_MINUTES = 24 * 60

A_SCHEDULE = '"every 6h", "daily", a cron expression such as "17 3 * * *", or "" for never by itself'
A_WINDOW = 'hours of the day such as "22:00-06:00", or "" for any time'


class Schedule(Protocol):
    """Says when something is due; all moments in Unix seconds."""

    def due_at(self, last: float | None, now: float) -> float | None:
        """Return when it is due next, given when it began last; None for never.

        What was missed meanwhile is due now, once. So is what began in times to come, by a clock
        that was ahead: nobody knows when that was.
        """


class Never:
    """Not by itself."""

    def due_at(self, last: float | None, now: float) -> float | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(frozen=True, slots=True)
class Interval:
    """So long after it began last; at once the first time."""

    seconds: float

    def due_at(self, last: float | None, now: float) -> float | None:
        """Return the end of the interval."""
        return now if last is None or lies_ahead(last, now) else max(now, min(last, now) + self.seconds)


@dataclass(frozen=True, slots=True)
class Cron:
    """At the moments of a cron expression."""

    expression: str
    zone: tzinfo
    """Whose clock counts."""

    def due_at(self, last: float | None, now: float) -> float | None:
        """Return the first moment after the last one that began."""
        if last is not None and lies_ahead(last, now):
            return now
        since = datetime.fromtimestamp(now if last is None else min(last, now), self.zone)
        following = next(CronSim(self.expression, since), None)
        return None if following is None else max(now, following.timestamp())


def parse_schedule(text: str, zone: tzinfo = UTC) -> Schedule:
    """Return the schedule that a text means. Raises ValueError with what to write."""
    text = text.strip()
    if not text:
        return Never()
    interval = _INTERVAL.fullmatch(text)
    if interval is not None:
        seconds = int(interval[1]) * _UNIT_S[interval[2]]
        if seconds > 0:
            return Interval(seconds)
    expression = _NAMED.get(text, text)
    try:
        following = next(CronSim(expression, datetime(2024, 1, 1)), None)  # noqa: DTZ001 - any moment will do
    except CronSimError as error:
        raise ValueError(f"is no schedule ({error}): write {A_SCHEDULE}") from None
    if following is None:
        raise ValueError(f"never comes: write {A_SCHEDULE}")
    return Cron(expression, zone)


@dataclass(frozen=True, slots=True)
class Window:
    """The hours of the day in which something may happen; the same start and end is all day."""

    start_minute: int
    end_minute: int
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, zone: tzinfo = UTC) -> Self:
        """Return the window that a text means. Raises ValueError with what to write."""
        if not text.strip():
            return cls(0, 0, zone)
        match = _WINDOW.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"is no window: write {A_WINDOW}")
        hours = [int(part) for part in match.groups()]
        return cls(hours[0] * 60 + hours[1], hours[2] * 60 + hours[3], zone)

    @property
    def is_all_day(self) -> bool:
        """Whether it is always open."""
        return self.start_minute == self.end_minute

    def opens_at(self, now: float) -> float:
        """Return the moment from which it is open: `now` if it is."""
        while not self._is_open(now):
            # Twice on a day whose clocks skip the whole window.
            now = self._next(self.start_minute, now)
        return now

    def closes_at(self, now: float) -> float | None:
        """Return when it closes after `now`, None for never."""
        return None if self.is_all_day else self._next(self.end_minute, now)

    def _is_open(self, now: float) -> bool:
        if self.is_all_day:
            return True
        local = datetime.fromtimestamp(now, self.zone)
        minute = local.hour * 60 + local.minute
        length = (self.end_minute - self.start_minute) % _DAY_MINUTES
        return (minute - self.start_minute) % _DAY_MINUTES < length

    def _next(self, minute: int, now: float) -> float:
        """Return the next moment at which the local clock shows a minute of the day."""
        local = datetime.fromtimestamp(now, self.zone)
        at = local.replace(hour=minute // 60, minute=minute % 60, second=0, microsecond=0)
        while at.timestamp() <= now:
            at = (at + timedelta(days=1)).replace(hour=minute // 60, minute=minute % 60)
        return at.timestamp()

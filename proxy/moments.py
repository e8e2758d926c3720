"""Moments by a wall clock, which may be set at any time, by any amount, either way.

Moments that are kept outlive what set the clock: a machine that boots two hours
ahead writes some that lie two hours ahead. Such a one tells nothing, so it never makes
anything wait or last: what it holds up is due, what it keeps ages from now on.
Pure; all times are Unix seconds.
"""

from typing import NamedTuple

SLACK_S = 5.0
"""Clocks of processes and of file systems differ a little; so much ahead is no sign of anything."""


class Pause(NamedTuple):
    """A time during which something is not done again."""

    since: float
    length_s: float

    def is_on(self, now: float) -> bool:
        """Whether it lasts; not once the clock was set to before its beginning."""
        return self.since <= now < self.since + self.length_s


NO_PAUSE = Pause(0.0, 0.0)


def lies_ahead(moment: float, now: float) -> bool:
    """Whether a moment that should be past was written by a clock that was ahead."""
    return moment > now + SLACK_S


def lasts_until(until: float, now: float, longest_s: float) -> bool:
    """Whether something lasts that ends at `until`, and was to last `longest_s` at most when it began."""
    return 0 < until - now <= longest_s + SLACK_S


def within(moment: float, now: float, seconds: float) -> bool:
    """Whether a moment is one of the last so many seconds; not if it is still to come."""
    return not lies_ahead(moment, now) and now - moment < seconds

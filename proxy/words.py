"""Figures as a person reads them."""

from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024


def size(count: float) -> str:
    """Return bytes in the unit that fits."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def duration(seconds: float) -> str:
    """Return a length of time in its two largest units."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def share(ratio: float | None) -> str:
    """Return a ratio in percent."""
    return "-" if ratio is None else f"{ratio:.0%}"


def date(seconds: float | None) -> str:
    """Return Unix seconds as a date in UTC."""
    if seconds is None:
        return "an unknown date"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M UTC}"
    except (ValueError, OverflowError, OSError):
        return "a date that no calendar knows"

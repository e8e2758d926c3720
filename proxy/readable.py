"""Figures as a person reads them, and names that a person mistyped. Pure."""

import difflib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_FEW = 5
_LONGEST_COMPARED = 200
"""Likeness takes time by the square of the length."""


def size(count: float) -> str:
    """Return bytes in the unit that fits."""
    if count < _STEP:
        return f"{count:.0f} B"
    for unit in _UNITS[1:-1]:
        count /= _STEP
        if round(count, 1) < _STEP:
            return f"{count:.1f} {unit}"
    return f"{count / _STEP:.1f} {_UNITS[-1]}"


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


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number of things."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def times(count: int) -> str:
    """Return how often something happened."""
    return "once" if count == 1 else f"{count} times"


def first_few(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = len(names) - _FEW
    return ", ".join(names[:_FEW]) + (f" and {more:,} more" if more > 0 else "")


def like(wanted: str, there: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return those most like what is wanted, the likest first."""
    short = [one for one in there if len(one) <= _LONGEST_COMPARED]
    return difflib.get_close_matches(wanted[:_LONGEST_COMPARED], short, n=most, cutoff=cutoff)


def meant(name: str, there: Iterable[str]) -> str:
    """Return what to say after a name that is none of those there, if one of them is like it."""
    known = {_plain(one): one for one in there}
    near = like(_plain(name), known)
    return f"; did you mean {known[near[0]]!r}?" if near else ""


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-")


def printable(text: str) -> str:
    """Return text that does nothing to a terminal but stand there: a list may name what it likes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


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

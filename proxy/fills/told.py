"""What the ledger tells of failures, as far as it has the shape that this release writes.

Another release, or somebody's hands, may have written something else. That tells
nothing: no client may go without an item for it. Pure.
"""

from typing import Any

_LAST_MOMENT = 1e12
"""Beyond all years that a clock shows, in Unix seconds."""


def wrong_copies(record: Any) -> dict[str, list[Any]]:
    """Return what is wrong at each origin: [problem, times found, blocked until]."""
    found = {}
    for name, told in _named(record).items():
        match told:
            case [str(), int() as times, until] if times > 0 and is_moment(until):
                found[name] = told
    return found


def absences(record: Any) -> dict[str, float]:
    """Return until when each origin is known to lack a path."""
    return {name: until for name, until in _named(record).items() if is_moment(until)}


def trouble(record: Any) -> tuple[str, float] | None:
    """Return why no origin could be had, and when."""
    match record:
        case [str() as problem, at] if is_moment(at):
            return problem, at
    return None


def wrong_copy(record: Any) -> dict[str, Any] | None:
    """Return the last wrong copy of an origin: {"path", "problem", "at", "distrusted_until"}."""
    match record:
        case {"path": str(), "problem": str(), "at": at, "distrusted_until": until} if is_moment(
            at
        ) and is_moment(until):
            return dict(record)
    return None


def parts(record: Any) -> list[list[Any]]:
    """Return what is known of parts that did not fit together: [origin, start, stop, digest, place?]."""
    found = []
    for told in record if isinstance(record, list) else ():
        match told:
            case [str(), int() as start, int() as stop, str(), *place] if (
                0 <= start <= stop < _LAST_MOMENT
                and len(place) <= 1
                and all(isinstance(one, str) for one in place)
            ):
                found.append(told)
    return found


def is_moment(value: Any) -> bool:
    """Whether a value can be a time in Unix seconds."""
    return isinstance(value, int | float) and 0 <= value < _LAST_MOMENT


def _named(record: Any) -> dict[str, Any]:
    return record if isinstance(record, dict) else {}

"""Types of fields, as Go reads JSON: one field of another type spoils the whole document. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any names, whose values are all of one type."""

    value: "Type"


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of one type."""

    value: "Type"


Type = type[str] | type[int] | type[bool] | MapOf | ListOf | Mapping[str, "Type"]
_NAMES = {str: "a text", int: "a whole number", bool: "true or false"}


def misfits(value: Any, wanted: Type, where: str = "") -> Iterator[str]:
    """Yield what is of another type than wanted; what is null, missing, or read by nobody is fine."""
    if value is None:
        return
    if isinstance(wanted, ListOf):
        yield from _in_list(value, wanted, where)
    elif isinstance(wanted, MapOf | Mapping):
        yield from _in_object(value, wanted, where)
    elif not _is_of(value, wanted):
        yield f"{where} is {value!s:.40} and not {_NAMES[wanted]}"


def _in_list(value: Any, wanted: ListOf, where: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{where or 'it'} is no list"
        return
    for number, one in enumerate(value):
        yield from misfits(one, wanted.value, f"{where}[{number}]")


def _in_object(value: Any, wanted: MapOf | Mapping[str, Type], where: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{where or 'it'} is no object"
    elif isinstance(wanted, MapOf):
        for name, one in value.items():
            yield from misfits(one, wanted.value, f"{where}.{name}" if where else str(name))
    else:
        for name, kind in wanted.items():
            yield from misfits(value.get(name), kind, f"{where}.{name}" if where else name)


def _is_of(value: Any, wanted: type) -> bool:
    if wanted is int:
        return isinstance(value, int) and not isinstance(value, bool) and -_INT64 <= value < _INT64
    return isinstance(value, wanted)

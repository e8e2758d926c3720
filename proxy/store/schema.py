"""What records look like: JSON values are read into typed values and written from them, in one way.

A schema is a type that msgspec knows: a frozen dataclass for a JSON object, a `Row`
for a JSON list, or `int`, `tuple[str, ...]` and the like. It tolerates releases:

    a field that it does not know     is passed over
    a field that is missing           takes its default; without one the record is unreadable
    another type, or out of range     makes the record unreadable
    a higher version                  makes the record unreadable

The other way round, what is written must be read by the release before, for people go
back. A record of version 1 does not state its version: the first releases knew none.
Those refuse a field that they do not know, so the `later` ones are left out while they
say nothing. A type that changes so that older releases would misread it gets the next
number, which stands in the JSON object under "version" from then on.

Pure: knows nothing of the ledger or of files.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec

from proxy.errors import ProxyError

_VERSION = "version"
_LARGEST = 2**63 - 1
_LAST_MOMENT = 1e12

Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
"""A number of bytes, items, or times."""
Moment = Annotated[float, msgspec.Meta(ge=-_LAST_MOMENT, le=_LAST_MOMENT)]
"""Unix seconds of a year that a clock shows; a clock may be before 1970."""
Rate = Annotated[float, msgspec.Meta(gt=0, le=_LARGEST)]
"""Bytes a second."""

T = TypeVar("T")


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A record that is a JSON list: its fields in order. New ones go to the end, with defaults."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is there and cannot be read. Something was written, so it never counts as nothing."""

    problem: str
    remains: str = ""
    """The text of one that is no JSON."""


class Schema(Generic[T]):
    """How values of one type are written as JSON values, and read."""

    def __init__(self, of: type[T], version: int = 1, later: Collection[str] = ()) -> None:
        """Know a type. `later` names fields, at any depth, that the first releases did not know."""
        self._type = of
        self._version = version
        self._later = frozenset(later)

    def decode(self, value: object) -> T | Unreadable:
        """Return what a JSON value says. Never raises."""
        if isinstance(value, Unreadable):
            return value
        stated = value.get(_VERSION, 1) if isinstance(value, dict) else 1
        if type(stated) is not int:
            return Unreadable(f"its version is no number: {stated!r:.40}")
        if stated > self._version:
            return Unreadable(
                f"a newer release wrote it: its version is {stated}, this one reads up to {self._version}"
            )
        try:
            return msgspec.convert(value, self._type)
        except (msgspec.MsgspecError, ProxyError, ValueError, OverflowError, RecursionError) as error:
            return Unreadable(str(error))

    def decode_text(self, text: str | bytes) -> T | Unreadable:
        """Return what JSON text says. Never raises."""
        return self.decode(parse(text))

    def encode(self, record: T) -> Any:
        """Return a record as JSON values."""
        value = msgspec.to_builtins(record)
        if self._later:
            value = self._without_silent(value)
        return value if self._version == 1 else {_VERSION: self._version, **value}

    def _without_silent(self, value: Any) -> Any:
        """Return a value without the later fields that say nothing: None, False, or something empty."""
        match value:
            case dict():
                return {
                    name: self._without_silent(one)
                    for name, one in value.items()
                    if name not in self._later or not _is_silent(one)
                }
            case list() | tuple():
                return [self._without_silent(one) for one in value]
        return value


def parse(text: str | bytes) -> Any:
    """Return the JSON value of a text, or Unreadable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        remains = text if isinstance(text, str) else text.decode(errors="replace")
        return Unreadable(f"it is not JSON: {error}", remains)


def _is_silent(value: object) -> bool:
    return value is None or value is False or (isinstance(value, str | list | tuple | dict) and not value)

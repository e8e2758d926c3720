"""What records look like: JSON values are read into typed values and written from them, in one way.

A schema is a type that msgspec knows: a frozen dataclass for a JSON object, a `Row`
for a JSON list, or `int`, `tuple[str, ...]` and the like. It tolerates releases:

    a field that it does not know     is passed over
    a field that is missing           takes its default; without one the record is unreadable
    another type, or out of range     makes the record unreadable
    a higher version                  makes the record unreadable

A record of version 1 does not state its version: the first releases knew none. A type
that changes so that older releases would misread it gets the next number, which stands
in the JSON object under "version" from then on.

Pure: knows nothing of the ledger or of files.
"""

import json
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

import msgspec

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


class Schema(Generic[T]):
    """How values of one type are written as JSON values, and read."""

    def __init__(self, of: type[T], version: int = 1) -> None:
        self._type = of
        self._version = version

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
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            return Unreadable(str(error))

    def decode_text(self, text: str | bytes) -> T | Unreadable:
        """Return what JSON text says. Never raises."""
        return self.decode(parse(text))

    def encode(self, record: T) -> Any:
        """Return a record as JSON values."""
        value = msgspec.to_builtins(record)
        return value if self._version == 1 else {_VERSION: self._version, **value}


def parse(text: str | bytes) -> Any:
    """Return the JSON value of a text, or Unreadable."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Unreadable(f"it is not JSON: {error}")

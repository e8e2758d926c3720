"""Schemas: what JSON values are read into, and what of them is passed over or refused."""

import math
from dataclasses import dataclass, field
from typing import Any

import pytest

from proxy.store.schema import Count, Moment, Row, Schema, Unreadable, parse


class Copy(Row, frozen=True):
    """A record that is a list."""

    problem: str
    times: Count
    until: Moment = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A record that is an object, with others in it."""

    number: Count
    at: Moment | None = None
    names: tuple[str, ...] = ()
    copies: dict[str, Copy] = field(default_factory=dict)
    last: "Page | None" = None


PAGES = Schema(Page)
FULL = Page(number=7, at=1.5, names=("a", "b"), copies={"one": Copy("cut", 2)}, last=Page(number=6))
FULL_VALUE = {
    "number": 7,
    "at": 1.5,
    "names": ["a", "b"],
    "copies": {"one": ["cut", 2, 0.0]},
    "last": {"number": 6, "at": None, "names": [], "copies": {}, "last": None},
}


def test_a_record_says_what_was_written() -> None:
    assert PAGES.decode(FULL_VALUE) == FULL


@pytest.mark.parametrize(
    ("value", "record"),
    [
        ({"number": 1, "colour": "red"}, Page(number=1)),
        ({"number": 1, "last": {"number": 0, "colour": "red"}}, Page(number=1, last=Page(number=0))),
        ({"number": 1, "copies": {"a": ["b", 1, 2.0, ""]}}, Page(number=1, copies={"a": Copy("b", 1, 2.0)})),
        ({"number": 1, "copies": {"a": ["b", 1]}}, Page(number=1, copies={"a": Copy("b", 1)})),
        ({"number": 1, "at": 3}, Page(number=1, at=3.0)),
        ({"version": 1, "number": 1}, Page(number=1)),
        ({"version": 0, "number": 1}, Page(number=1)),
    ],
)  # fmt: skip
def test_what_another_release_added_or_left_out_is_passed_over(value: Any, record: Page) -> None:
    assert PAGES.decode(value) == record


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, "Expected `object`, got `null`"),
        ([7], "Expected `object`, got `array`"),
        ({}, "missing required field `number`"),
        ({"number": "7"}, "Expected `int`, got `str`"),
        ({"number": True}, "Expected `int`, got `bool`"),
        ({"number": -1}, "Expected `int` >= 0"),
        ({"number": 10**400}, "Expected `int` <= 9223372036854775807"),
        ({"number": 1, "at": 10**400}, "out of range"),
        ({"number": 1, "at": math.nan}, "Expected `float`"),
        ({"number": 1, "at": math.inf}, "Expected `float` <= 1000000000000.0"),
        ({"number": 1, "names": "ab"}, r"Expected `array`, got `str` - at `\$.names`"),
        ({"number": 1, "names": ["a", 1]}, r"at `\$.names\[1\]`"),
        ({"number": 1, "copies": {"a": ["b"]}}, "Expected `array` of at least length 2, got 1"),
        ({"number": 1, "last": {"names": []}}, "missing required field `number`"),
        ({"version": 2, "number": 1}, "a newer release wrote it: its version is 2, this one reads up to 1"),
        ({"version": "2", "number": 1}, "its version is no number: '2'"),
        ({"version": True, "number": 1}, "its version is no number: True"),
        (Unreadable("it is not JSON"), "it is not JSON"),
    ],
)
def test_what_makes_no_sense_is_unreadable(value: Any, problem: str) -> None:
    record = PAGES.decode(value)
    assert isinstance(record, Unreadable)
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(record.problem)


def test_a_text_that_is_half_of_one_is_unreadable() -> None:
    assert PAGES.decode_text('{"number": 7}') == Page(number=7)
    for text in ('{"number": 7', "", b"\xff\xfe{", "[" * 100_000, b"\0"):
        assert isinstance(PAGES.decode_text(text), Unreadable)


def test_the_first_version_is_not_stated_and_the_next_ones_are() -> None:
    assert Schema(Page).encode(Page(number=1)).get("version") is None
    later = Schema(Page, version=3)
    value = later.encode(Page(number=1))
    assert value["version"] == 3
    assert later.decode(value) == later.decode({"number": 1}) == Page(number=1)
    assert isinstance(PAGES.decode(value), Unreadable)


def test_a_later_field_is_written_once_it_says_something() -> None:
    """The first releases refuse a field that they do not know, and people go back to them."""
    schema = Schema(Page, later=["at", "names", "last"])
    assert schema.encode(Page(number=1)) == {"number": 1, "copies": {}}
    assert schema.encode(Page(number=1, last=Page(number=2, names=("a",)))) == {
        "number": 1,
        "copies": {},
        "last": {"number": 2, "copies": {}, "names": ["a"]},
    }
    assert schema.encode(Page(number=1, at=0.0))["at"] == 0.0
    for page in (FULL, Page(number=1), Page(number=0, at=0.0)):
        assert schema.decode(schema.encode(page)) == page


@pytest.mark.parametrize("text", ["", "{", '["half', b"\xff\xfe", b'{"one": ', "[" * 100_000])
def test_what_is_no_json_is_unreadable_and_never_nothing(text: str | bytes) -> None:
    found = parse(text)
    assert isinstance(found, Unreadable)
    assert "not JSON" in found.problem


def test_json_is_read_from_text_and_bytes() -> None:
    assert parse('{"one": [1, null]}') == parse(b'{"one": [1, null]}') == {"one": [1, None]}
    assert parse("null") is None

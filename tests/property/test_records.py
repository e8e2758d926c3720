"""Any JSON value is read into a record or is unreadable, and what is written is read again."""

import json
import math
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from proxy.store.schema import Count, Moment, Row, Schema, Unreadable

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


class Copy(Row, frozen=True):
    """A list on disk."""

    problem: str
    times: Count = 1
    until: Moment = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An object on disk."""

    number: Count
    at: Moment | None = None
    names: tuple[str, ...] = ()
    copies: dict[str, Copy] = field(default_factory=dict)
    is_odd: bool = False


MOMENTS = st.floats(-1e12, 1e12)
COPIES = st.builds(Copy, st.text(), st.integers(0, 2**63 - 1), MOMENTS)
PAGES = st.builds(
    Page,
    number=st.integers(0, 2**63 - 1),
    at=st.none() | MOMENTS,
    names=st.lists(st.text(), max_size=3).map(tuple),
    copies=st.dictionaries(st.text(), COPIES, max_size=3),
    is_odd=st.booleans(),
)
NEAR = st.fixed_dictionaries(
    {"number": JSON | st.integers(0, 9)},
    optional={
        "at": JSON,
        "names": JSON,
        "copies": st.dictionaries(st.text(), JSON, max_size=2),
        "is_odd": JSON,
        "version": JSON,
        "colour": JSON,
    },
)
SCHEMAS = (
    Schema(Page),
    Schema(Page, version=2),
    Schema(Copy),
    Schema(float),
    Schema(int),
    Schema(bool),
    Schema(tuple[str, ...]),
    Schema(dict[str, Copy]),
)


@given(JSON | NEAR, st.sampled_from(SCHEMAS))
def test_no_value_is_more_than_unreadable(value: object, schema: Schema[object]) -> None:
    record = schema.decode(value)
    if not isinstance(record, Unreadable):
        again = schema.decode(json.loads(json.dumps(schema.encode(record))))
        assert again == record or (isinstance(record, float) and math.isnan(record))


@given(st.text() | st.binary(), st.sampled_from(SCHEMAS))
def test_no_text_is_more_than_unreadable(text: str | bytes, schema: Schema[object]) -> None:
    schema.decode_text(text)


@given(PAGES, st.integers(1, 3))
def test_what_is_written_is_read(page: Page, version: int) -> None:
    schema = Schema(Page, version)
    assert schema.decode_text(json.dumps(schema.encode(page))) == page


@given(PAGES, st.dictionaries(st.text(min_size=20), JSON, max_size=3))
def test_what_a_later_release_adds_changes_nothing(page: Page, more: dict[str, object]) -> None:
    schema = Schema(Page)
    assert schema.decode({**more, **schema.encode(page)}) == page

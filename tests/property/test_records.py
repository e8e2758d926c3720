"""Any JSON value is read into a record or is unreadable, and what is written is read again."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.last_release import READ_BY_LAST_RELEASE

from proxy.digest import Digest
from proxy.documents.generation import Document, Generation
from proxy.documents.records import GENERATION
from proxy.jobs import rulebook, scrub
from proxy.jobs.rulebook import Result
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
    record = schema.decode_text(text)
    assert isinstance(record, Unreadable) or schema.decode(schema.encode(record)) is not None


@given(PAGES, st.integers(1, 3))
def test_what_is_written_is_read(page: Page, version: int) -> None:
    schema = Schema(Page, version)
    assert schema.decode_text(json.dumps(schema.encode(page))) == page


@given(PAGES, st.dictionaries(st.text(min_size=20), JSON, max_size=3))
def test_what_a_later_release_adds_changes_nothing(page: Page, more: dict[str, object]) -> None:
    schema = Schema(Page)
    assert schema.decode({**more, **schema.encode(page)}) == page


# The program's own records

FINITE = st.floats(-1e12, 1e12)
COUNTS = st.integers(0, 2**63 - 1)
TEXTS = st.lists(st.text(), max_size=3).map(tuple)
RESULTS = st.builds(
    Result,
    started_at=FINITE,
    ended_at=FINITE,
    outcome=st.text(),
    problem=st.none() | st.text(),
    wanted_items=COUNTS,
    wanted_bytes=COUNTS,
    fetched_items=COUNTS,
    fetched_bytes=COUNTS,
    added=TEXTS,
    dropped=TEXTS,
    failures=TEXTS,
)
_DIGESTS = st.binary(min_size=32, max_size=32).map(lambda raw: Digest(raw.hex()))
DOCUMENTS = st.builds(
    Document,
    path=st.text(),
    format=st.text(),
    digest=_DIGESTS,
    size_bytes=COUNTS,
    text=_DIGESTS,
    content_id=st.text(),
    updated=st.none() | FINITE,
    signed_at=st.none() | FINITE,
    fingerprint=st.text(),
    origin=st.text(),
    etag=st.none() | st.text(),
    last_modified=st.none() | st.text(),
)
GENERATIONS = st.builds(
    lambda documents, **fields: Generation(index_path=next(iter(documents)), documents=documents, **fields),
    documents=st.dictionaries(st.text(), DOCUMENTS, min_size=1, max_size=3),
    number=COUNTS,
    keyring=st.text(),
    accepted_at=FINITE,
    checked_at=FINITE,
    absent=TEXTS,
    gaps=TEXTS,
    refused=st.dictionaries(st.text(), st.text(), max_size=2),
)
WRITTEN: dict[str, tuple[Schema[Any], st.SearchStrategy[Any]]] = {
    "generation/": (GENERATION, GENERATIONS),
    "rule/": (
        rulebook._PAGES.schema,
        st.builds(
            rulebook.Page,
            last=st.none() | RESULTS,
            next_at=st.none() | FINITE,
            complete_at=st.none() | FINITE,
            versions=TEXTS,
        ),
    ),
    "scrub": (
        scrub._STATE.schema,
        st.builds(
            scrub.ScrubState,
            asked_at=FINITE,
            completed_at=st.none() | FINITE,
            due_blobs=COUNTS,
            due_bytes=COUNTS,
            damaged=TEXTS,
        ),
    ),
}
"""Records in which no later field says anything, by the beginning of their keys."""


@given(st.data(), st.sampled_from(sorted(WRITTEN)))
def test_what_is_written_is_read_by_this_release_and_by_the_one_before(
    data: st.DataObject, kind: str
) -> None:
    schema, records = WRITTEN[kind]
    record = data.draw(records)
    value = json.loads(json.dumps(schema.encode(record)))
    assert schema.decode(value) == record
    Draft202012Validator(READ_BY_LAST_RELEASE[kind]).validate(value)

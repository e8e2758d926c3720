"""Documents as text: what is one, what is none and why, and what an index entry means."""

import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.lists import parse_index

from proxy.simplestreams import shape
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, Index, IndexEntry, Products
from proxy.simplestreams.parse import FormatError, parse_document, parse_updated, same_statement
from proxy.simplestreams.shape import TooComplex, check_shape


def encoded(**document: object) -> bytes:
    """Write a document."""
    return json.dumps(document).encode()


def index(**entries: object) -> Index:
    """Read an index with these entries."""
    return parse_index(encoded(format=INDEX_FORMAT, index=entries))


def entry(**fields: object) -> dict[str, object]:
    """Return an ordinary entry with some fields changed."""
    return {"path": "streams/v1/one.json", "format": PRODUCTS_FORMAT, **fields}


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Run the test on a machine in New York."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "America/New_York")
        time.tzset()
        yield
    time.tzset()


# What is no document


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "it is not JSON"),
        (b"<!DOCTYPE HTML>\n<title>503 Service Unavailable</title>", "it is not JSON"),
        (encoded(format=PRODUCTS_FORMAT, products={})[:-1], "it is not JSON"),
        (encoded(format=PRODUCTS_FORMAT, products={}) + b"{}", "it is not JSON"),
        ("\ufeff{}".encode(), "it is not JSON"),
        (b'{"format": "\xff"}', "it is not UTF-8 at byte 12"),
        (b"[" * 100_000, "it is nested too deeply"),
        (b'{"a":' * 100_000, "it is nested too deeply"),
        (b'{"a":' + b"[" * 300 + b"]" * 300 + b"}", "it is nested too deeply"),
        (b"[]", "it is not a JSON object"),
        (b"null", "it is not a JSON object"),
        (b'"products:1.0"', "it is not a JSON object"),
        (b"{}", "its format is None"),
        (encoded(format="products:2.0", products={}), "its format is 'products:2.0'"),
        (encoded(format=["products:1.0"]), "its format is "),
        (encoded(format=PRODUCTS_FORMAT), "it has no 'products' object"),
        (encoded(format=PRODUCTS_FORMAT, products=[]), "it has no 'products' object"),
        (encoded(format=INDEX_FORMAT), "it has no 'index' object"),
        (encoded(format=INDEX_FORMAT, index=None), "it has no 'index' object"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_document_is_refused_in_words(raw: bytes, problem: str) -> None:
    with pytest.raises(FormatError, match=problem):
        parse_document(raw)


@pytest.mark.parametrize("block_bytes", [1, 2, 3, 7, 1024])
def test_brackets_in_texts_are_no_nesting(block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "_BLOCK_BYTES", block_bytes)
    texts = ["[" * 1000, "{" * 1000, '\\"[' * 400, "\\\\", "\\" * 9, '"', "]" * 1000, "[[\\"]
    deep = json.loads("[" * 290 + "]" * 290)
    found = parse_document(encoded(format=PRODUCTS_FORMAT, products={one: one for one in texts}, deep=deep))
    assert isinstance(found, Products)
    closed = json.dumps({"]" * 1000: "]" * 1000})[:-1] + ', "a":'
    with pytest.raises(FormatError, match="nested too deeply"):
        parse_document(closed.encode() + b"[" * 300 + b"]" * 300 + b"}")


@given(
    st.recursive(
        st.text(st.sampled_from('[]{}"\\a')),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.sampled_from('[{"\\')), inner),
    ),
    st.integers(1, 5),
)
def test_the_depth_of_a_document_is_found_whatever_its_texts_hold(value: object, block_bytes: int) -> None:
    def depth(one: object) -> int:
        inner = one.values() if isinstance(one, dict) else one if isinstance(one, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    raw = json.dumps(value).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape, "_BLOCK_BYTES", block_bytes)
        patch.setattr(shape, "_DEEPEST", depth(value))
        check_shape(raw)
        patch.setattr(shape, "_DEEPEST", depth(value) - 1)
        if depth(value):
            with pytest.raises(TooComplex):
                check_shape(raw)


def test_a_problem_is_told_in_few_words_however_long_the_text() -> None:
    with pytest.raises(FormatError) as caught:
        parse_document(encoded(format="x" * 100_000))
    assert len(str(caught.value)) < 200


def test_the_least_that_is_a_document_is_one() -> None:
    nothing = parse_document(encoded(format=INDEX_FORMAT, index={}))
    empty = parse_document(encoded(format=PRODUCTS_FORMAT, products={}))
    assert nothing == Index(updated=None, entries=())
    assert isinstance(empty, Products)
    assert (empty.content_id, empty.updated) == ("", None)


# Indexes


def test_an_entry_that_does_not_say_its_format_has_none() -> None:
    (found,) = index(one={"path": "streams/v1/one.json"}).entries
    assert (found.format, found.updated) == ("", None)


def test_an_entry_is_read_with_its_date() -> None:
    found = index(one=entry(updated="Fri, 04 Nov 2016 03:33:58 +0000", datatype="image-downloads"))
    assert found.entries == (
        IndexEntry(content_id="one", path="streams/v1/one.json", format=PRODUCTS_FORMAT, updated=1478230438),
    )
    assert found.oddities == ()


def test_an_index_may_name_further_indexes() -> None:
    found = index(nested=entry(path="streams/v1/more.json", format=INDEX_FORMAT))
    assert [named.is_followed for named in found.entries] == [True]


@pytest.mark.parametrize(
    "fields", [{"format": "mirrors:1.0"}, {"format": None}, {"format": 7}, {"format": ""}]
)
def test_an_entry_of_another_format_is_a_file_to_serve_not_to_read(fields: dict[str, object]) -> None:
    found = index(other=entry(**fields))
    assert [(named.path, named.is_followed) for named in found.entries] == [("streams/v1/one.json", False)]


def test_an_entry_without_path_is_nothing_odd() -> None:
    found = index(here=entry(), nowhere={"format": PRODUCTS_FORMAT}, null=entry(path=None))
    assert [named.content_id for named in found.entries] == ["here"]
    assert found.oddities == ()


@pytest.mark.parametrize(
    ("odd", "problem"),
    [
        ("streams/v1/one.json", "is not an object"),
        ([], "is not an object"),
        (None, "is not an object"),
        (entry(path=7), "has a path that is no text"),
        (entry(path={}), "has a path that is no text"),
        (entry(path=""), "names no file"),
        (entry(path="%2Fetc/passwd"), "is not relative"),
        (entry(path="streams/../../secret.json"), "segment"),
        (entry(path="%2e%2e/secret.json"), "segment"),
        (entry(path="a\nb.json"), "control character"),
        (entry(path="a\ud800.json"), "not UTF-8"),
    ],
    ids=str,
)
def test_an_odd_entry_is_told_and_costs_no_other_entry(odd: object, problem: str) -> None:
    found = index(odd=odd, good=entry())
    assert [named.content_id for named in found.entries] == ["good"]
    assert len(found.oddities) == 1
    assert problem in found.oddities[0]
    assert "'odd'" in found.oddities[0]


@pytest.mark.parametrize(
    ("fields", "omitted"),
    [
        ({"format": None, "datatype": "image-ids"}, ["format"]),
        ({"format": "", "datatype": "image-ids"}, ["format"]),
        ({"format": 7}, ["format"]),
        ({"datatype": None}, ["datatype"]),
        ({"datatype": "image-ids"}, []),
        ({"format": INDEX_FORMAT}, []),
        ({"format": "mirrors:1.0"}, []),
    ],
)
def test_what_an_entry_does_not_say_is_told(fields: dict[str, object], omitted: list[str]) -> None:
    found = index(one=entry(**fields))
    assert [what.split(" its ")[1].split(",")[0] for what in found.omissions] == omitted
    assert all("'one'" in what for what in found.omissions)


def test_entry_paths_come_in_their_one_form() -> None:
    found = index(one=entry(path="streams/v1/com.ubuntu.maas%3Astable%3Av3%3Adownload.json"))
    assert found.entries[0].path == "streams/v1/com.ubuntu.maas:stable:v3:download.json"


# Dates


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Fri, 04 Nov 2016 03:33:58 +0000", 1478230438),
        ("Fri, 04 Nov 2016 03:33:58 GMT", 1478230438),
        ("Fri, 04 Nov 2016 03:33:58 -0000", 1478230438),
        ("Fri, 04 Nov 2016 03:33:58", 1478230438),
        ("04 Nov 2016 03:33:58 +0000", 1478230438),
        ("Fri, 04 Nov 2016 05:33:58 +0200", 1478230438),
        ("Thu, 03 Nov 2016 23:33:58 -0400", 1478230438),
        ("", None),
        ("yesterday", None),
        ("2016-11-04T03:33:58Z", None),
        ("Fri, 34 Nov 2016 03:33:58 +0000", None),
        ("Fri, 04 Nov 99999 03:33:58 +0000", None),
        ("Fri, 04 Nov 2016 03:33:58 +99999999999999999999", None),
        (None, None),
        (1478230438, None),
        ([], None),
    ],
)
@pytest.mark.usefixtures("zone")
def test_a_date_means_the_same_on_every_machine(text: object, seconds: float | None) -> None:
    assert parse_updated(text) == seconds


def test_a_bad_date_rejects_nothing() -> None:
    document = parse_document(encoded(format=PRODUCTS_FORMAT, products={}, updated="soon"))
    assert document.updated is None
    assert index(one=entry(updated=5)).entries[0].updated is None


# The same statement


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (b'{"a": 1, "b": [2]}', b'{ "b":[2],"a":1 }\n', True),
        (b'{"a": 1}', b'{"a": 2}', False),
        (b'{"a": 1}', b'{"a": 1, "b": null}', False),
        (b'{"a": 1}', b"no JSON", False),
        (b"[]", b"[]", False),
        (
            encoded(format=INDEX_FORMAT, index={"one": entry(path="a.sjson")}),
            encoded(format=INDEX_FORMAT, index={"one": entry(path="a.json")}),
            True,
        ),
        (
            encoded(format=INDEX_FORMAT, index={"one": entry(path="a.sjson")}),
            encoded(format=INDEX_FORMAT, index={"one": entry(path="b.json")}),
            False,
        ),
        (
            encoded(format=INDEX_FORMAT, index={"one": entry(path="a.sjson")}),
            encoded(format=INDEX_FORMAT, index={"one": entry(path="a.json"), "two": entry()}),
            False,
        ),
        *(
            (
                encoded(format=INDEX_FORMAT, index={"one": entry(path="streams/v1/c.sjson")}),
                encoded(format=INDEX_FORMAT, index={"one": entry(path=path)}),
                False,
            )
            for path in ("streams/v1/c", "streams/v1/c.json.json", "streams/v1/c.sjson.json", "c.json")
        ),
        (
            encoded(format=INDEX_FORMAT, index={"one": entry(path="c.json.sjson")}),
            encoded(format=INDEX_FORMAT, index={"one": entry(path="c.json")}),
            False,
        ),
        (
            encoded(format=INDEX_FORMAT, index={"one": entry(path="c.json")}),
            encoded(format=INDEX_FORMAT, index={"one": entry(path="c.json")}),
            True,
        ),
        *(
            (
                encoded(format=INDEX_FORMAT, index=one),
                encoded(format=INDEX_FORMAT, index=other),
                False,
            )
            for one, other in (
                ({"one": entry()}, []),
                ({"one": entry()}, {"one": "streams/v1/one.sjson"}),
                ({"one": entry()}, {"one": None}),
                ({"one": entry()}, {"one": entry(path=None)}),
                ({"one": entry()}, {"one": entry(path=["streams/v1/one.sjson"])}),
            )
        ),
        (
            encoded(format=PRODUCTS_FORMAT, products={"one": {"path": "a.sjson"}}),
            encoded(format=PRODUCTS_FORMAT, products={"one": {"path": "a.json"}}),
            False,
        ),
    ],
)
def test_two_texts_state_the_same_or_not(one: bytes, other: bytes, *, same: bool) -> None:
    """Only between indexes, and only in the flavour of the lists named, may anything differ."""
    assert same_statement(one, other) is same
    assert same_statement(other, one) is same


@pytest.mark.parametrize(
    "other", [b'{"a": true}', b'{"a": 1.0}', b'{"a": "1"}', b'{"A": 1}', b'{"a": 1, "A": 1}']
)
def test_what_only_python_takes_for_equal_is_not_the_same(other: bytes) -> None:
    assert not same_statement(b'{"a": 1}', other)


@pytest.mark.parametrize("other", [b'{"a": 2, "a": 1}', b'{"a": 1, "a": 1}', b'{"\\u0061": 2, "a": 1}'])
def test_a_name_that_stands_twice_means_different_things_to_different_readers(other: bytes) -> None:
    """So an unsigned text that repeats one is not what the signed one states."""
    assert not same_statement(b'{"a": 1}', other)

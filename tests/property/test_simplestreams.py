"""Any list is read as the reference client reads it, and no list's odd parts cost its good ones."""

import json
from typing import Any
from urllib.parse import unquote

from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.lists import build_catalog
from support.reference import flattened
from yarl import URL

from proxy.digest import parse_digest
from proxy.simplestreams.model import PRODUCTS_FORMAT, Index, Item, Products
from proxy.simplestreams.parse import FormatError, parse_document, parse_updated, same_statement
from proxy.simplestreams.paths import PathError, canonical_path, url_paths
from proxy.simplestreams.walk import flatten, positions

INSERTED = ("product_name", "version_name", "item_name")
NAMES = st.sampled_from(["a", "b", "c", "path", "sha256", "size", "content_id", *INSERTED])
SCALARS = st.text(max_size=5) | st.integers() | st.floats() | st.booleans()
VALUES = SCALARS | st.none() | st.lists(SCALARS, max_size=2) | st.dictionaries(NAMES, SCALARS, max_size=2)
FIELDS = st.dictionaries(NAMES, VALUES, max_size=4)
KEYS = st.text(max_size=3) | NAMES

ALIASED = ("krel", "arch")
CHOICES = ("x", "y")
ATTRIBUTES = st.dictionaries(NAMES, VALUES, max_size=3)
"""What an alias adds. Names no further alias: what those mean depends on the order of keys in the file."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def trees(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a products list of the right shape, with any fields at any level, and with aliases or not."""
    aliased = draw(st.sampled_from([(), ALIASED[:1], ALIASED]))

    def node(children: str | None = None, held: dict[str, Any] | None = None) -> dict[str, Any]:
        body = draw(FIELDS)
        for field in aliased:
            if draw(st.booleans()):
                body[field] = draw(st.sampled_from([*CHOICES, "", 7, None]))
        if children is not None and (held or draw(st.booleans())):
            body[children] = held
        return body

    def some(make: Any) -> dict[str, Any]:
        return {key: make() for key in draw(st.lists(KEYS, max_size=2, unique=True))}

    def version() -> dict[str, Any]:
        return node("items", some(node))

    def product() -> dict[str, Any]:
        return node("versions", some(version))

    top = node("products", some(product) or {"p": product()})
    if aliased:
        top["_aliases"] = {field: {choice: draw(ATTRIBUTES) for choice in CHOICES} for field in aliased}
    if draw(st.booleans()):
        # Keys of a published file may stand in any order.
        top = dict(reversed(top.items()))
    return top


def listing(document: dict[str, Any]) -> Products:
    """Wrap a tree."""
    return Products(content_id="test", updated=None, document=document)


@given(trees())
def test_every_item_of_any_list_inherits_as_with_the_reference_client(document: dict[str, Any]) -> None:
    """Item by item and field by field."""
    ours = {(item.product, item.version, item.item): flatten(item) for item in positions(listing(document))}
    assert ours == flattened(document)


@given(trees())
def test_one_field_is_what_flattening_finds(document: dict[str, Any]) -> None:
    """The quick look-up and the whole one agree, but for the names that flattening inserts."""
    for position in positions(listing(document)):
        fields = flatten(position)
        for name in {name for node in position.nodes for name in node} - set(INSERTED):
            found = position.field(name)
            assert fields.get(name) == (None if found is None else str(found))


@given(st.dictionaries(KEYS | st.sampled_from(["products", "_aliases", "updated", "content_id"]), JSON), JSON)
def test_a_list_of_any_shape_is_read(document: dict[str, Any], products: object) -> None:
    """Whatever stands in it, what comes out can be served: canonical paths, digests, sizes."""
    raw = json.dumps({**document, "format": PRODUCTS_FORMAT, "products": {"odd": products}}).encode()
    parsed = parse_document(raw)
    assert isinstance(parsed, Products)
    list(map(flatten, positions(parsed)))
    for item in build_catalog([parsed]):
        assert_servable(item)


SHAPED = st.dictionaries(
    KEYS,
    JSON
    | st.fixed_dictionaries(
        {
            "versions": JSON
            | st.dictionaries(
                KEYS,
                JSON
                | st.fixed_dictionaries(
                    {
                        "items": JSON
                        | st.dictionaries(
                            KEYS,
                            st.fixed_dictionaries(
                                {},
                                optional={
                                    "path": JSON | st.text() | st.sampled_from(["x", "x%3Ay", "../x"]),
                                    "sha256": JSON | st.just("ab" * 32) | st.just("AB" * 32),
                                    "size": JSON
                                    | st.integers(0)
                                    | st.text("0123456789", min_size=1)
                                    | st.integers(1, 6000).map("9".__mul__),
                                },
                            ),
                            max_size=3,
                        )
                    }
                ),
                max_size=2,
            )
        }
    ),
    max_size=3,
)


@given(SHAPED, st.booleans())
@example(
    {"odd": {"versions": {"v": {"items": {"i": {"path": "x", "sha256": "ab" * 32, "size": "9" * 5000}}}}}},
    True,
)
def test_odd_neighbours_cost_a_good_item_nothing(odd: dict[str, Any], first: bool) -> None:
    """No product, version or item, however odd, takes the rest of its list down."""
    good = Item("good/path", parse_digest("cd" * 32), 5)
    fields = {"path": good.path, "sha256": good.digest, "size": good.size_bytes}
    product = {"good product": {"versions": {"v": {"items": {"i": fields}}}}}
    products = {**product, **odd} if first else {**odd, **product}
    catalog = build_catalog([listing({"products": products})])
    assert catalog.find(good.path) == good
    for item in catalog:
        assert_servable(item)
    assert not any(catalog.is_unverifiable(item.path) for item in catalog)


def assert_servable(item: Item) -> None:
    """Check that an item of a catalog is one that a request can name and a download can prove."""
    assert parse_digest(item.digest) == item.digest
    assert isinstance(item.size_bytes, int)
    assert item.size_bytes >= 0
    assert ".." not in item.path.split("/")
    assert canonical_path(url_paths(item.path)[0]) == item.path or len(url_paths(item.path)[0]) > 2048


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()) | st.text().map(str.encode))
def test_any_bytes_are_a_document_or_a_format_error(raw: bytes) -> None:
    """Nothing else can come of what a server sends."""
    try:
        parsed = parse_document(raw)
    except FormatError as error:
        assert str(error)  # noqa: PT017
    else:
        assert isinstance(parsed, Index | Products)


@given(st.dictionaries(KEYS, JSON))
def test_an_index_of_any_shape_is_read_whole(entries: dict[str, Any]) -> None:
    """Each entry is understood, told as odd, or has no path; none is lost silently."""
    parsed = parse_document(json.dumps({"format": "index:1.0", "index": entries}).encode())
    assert isinstance(parsed, Index)
    silent = [entry for entry in entries.values() if isinstance(entry, dict) and entry.get("path") is None]
    assert len(parsed.entries) + len(parsed.oddities) + len(silent) == len(entries)
    for entry in parsed.entries:
        assert canonical_path(url_paths(entry.path)[0]) == entry.path


WORDS = st.sampled_from(
    ["Fri,", "Fri", "04", "Nov", "nov,", "2016", "10:00:00", "10.00", "10:", "::", "GMT", "EST", "1e9"]
) | st.sampled_from(["+0000", "-0000", "-2359", ":", ",", "-", "+", "0", "99999999"])


@given(st.lists(WORDS | st.text(max_size=4), max_size=8).map(" ".join) | JSON)
def test_any_date_is_seconds_or_none(value: object) -> None:
    """A date that nobody can read is no date."""
    seconds = parse_updated(value)
    assert seconds is None or isinstance(seconds, float)


@given(JSON, JSON | st.sampled_from([None, True, 1, 1.0, [], {}]))
def test_only_equal_documents_state_the_same(one: Any, other: Any) -> None:
    """Whatever the order of their keys and the blanks between them."""
    documents = [{"format": PRODUCTS_FORMAT, "products": value} for value in (one, other)]
    compact, wide = (json.dumps(documents[0], indent=indent).encode() for indent in (None, 2))
    assert same_statement(compact, wide)
    assert same_statement(compact, json.dumps(documents[1]).encode()) == are_identical(one, other)


def are_identical(one: Any, other: Any) -> bool:
    """Compare like Python, but tell 1, 1.0 and true apart."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(are_identical(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(are_identical, one, other))
    return repr(one) == repr(other)


PATHS = st.text() | st.text(st.sampled_from("ab/.%:25EefF \\\0é?#"), max_size=12)


@given(PATHS)
def test_any_path_is_refused_or_safe(path: str) -> None:
    """What is canonical stays below the root, and survives the way through a URL."""
    try:
        canonical = canonical_path(path)
    except PathError as error:
        assert error.path == path  # noqa: PT017
        assert str(error).isprintable()  # noqa: PT017
        return
    assert not canonical.startswith("/")
    assert {"", ".", ".."}.isdisjoint(canonical.split("/"))
    assert not any(ord(letter) < 32 or letter in "\x7f\\" for letter in canonical)
    literal, *others = url_paths(canonical)
    assert canonical_path(literal) == canonical
    stored = {canonical, canonical.replace(":", "%3A"), literal.replace(":", "%3A").replace("%2B", "+")}
    assert {unquote(other) for other in others} <= stored
    for spelling in (literal, *others):
        assert spelling.isascii()
        assert not set(spelling) & set(' "<>?#[]\\^`{|}')
        url = URL("http://origin.example/root/" + spelling, encoded=True)
        assert url.raw_path == "/root/" + spelling


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="%/\\"), min_size=1))
def test_percent_encoding_never_makes_another_file(segment: str) -> None:
    """A segment names the same file written plainly or with every byte encoded."""
    assume(segment not in {".", ".."})
    encoded = "".join(f"%{byte:02x}" for byte in segment.encode())
    assume(len(encoded) <= 2048)
    assert canonical_path(encoded) == canonical_path(segment) == segment

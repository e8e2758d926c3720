"""The catalog: what can be served, what cannot be proved, and what disagreeing lists mean."""

from typing import Any

import pytest
from support.lists import build_catalog

from proxy.digest import Digest
from proxy.simplestreams.catalog import Catalog
from proxy.simplestreams.model import Item, Products

SHA = Digest("ab" * 32)
OTHER = Digest("cd" * 32)


def products(*items: tuple[str, dict[str, Any]], **top: object) -> Products:
    """Make a list of items, each under a version of its own product."""
    listed = {
        f"product {number}": {"versions": {version: {"items": {"file": item}}}}
        for number, (version, item) in enumerate(items)
    }
    return Products(content_id="test", updated=None, document={"products": listed, **top})


def item(path: object = "a", sha256: object = SHA, size: object = 5) -> dict[str, Any]:
    """Return an item's fields."""
    return {"path": path, "sha256": sha256, "size": size}


def of(*items: tuple[str, dict[str, Any]]) -> Catalog:
    """Build the catalog of one list."""
    return build_catalog([products(*items)])


def test_a_catalog_finds_items_by_path() -> None:
    catalog = of(("1", item("a")), ("1", item("b", OTHER, 0)))
    assert catalog.find("a") == Item("a", SHA, 5)
    assert catalog.find("b") == Item("b", OTHER, 0)
    assert catalog.find("c") is None
    assert len(catalog) == 2
    assert sorted(catalog) == [Item("a", SHA, 5), Item("b", OTHER, 0)]


def test_no_lists_make_an_empty_catalog() -> None:
    assert list(build_catalog([])) == []


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        (item(sha256=SHA.upper()), Item("a", SHA, 5)),
        (item(size="5"), Item("a", SHA, 5)),
        (item(size="0005"), Item("a", SHA, 5)),
        (item(size=0), Item("a", SHA, 0)),
        (item(size=10**15), Item("a", SHA, 10**15)),
        (item(path="x%3Ay"), Item("x:y", SHA, 5)),
    ],
    ids=str,
)
def test_a_proof_may_be_written_in_several_ways(listed: dict[str, Any], found: Item) -> None:
    assert list(of(("1", listed))) == [found]


@pytest.mark.parametrize(
    "listed",
    [
        {"path": "a", "size": 5},
        {"path": "a", "md5": "00" * 16, "size": 5},
        {"path": "a", "sha256": SHA},
        item(sha256=SHA[:-1]),
        item(sha256=SHA + "0"),
        item(sha256=SHA + "  -"),
        item(sha256="xy" * 32),
        item(sha256=7),
        item(sha256=None),
        item(size=-1),
        item(size="-1"),
        item(size="5 "),
        item(size="five"),
        item(size=""),
        item(size="\N{ARABIC-INDIC DIGIT FIVE}"),
        item(size=5.0),
        item(size=float("inf")),
        item(size=True),
        item(size="9" * 5000),
        item(size=None),
        item(size=[5]),
        item(size=2**63),
        item(size=10**40),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_what_nothing_proves_is_remembered_and_not_served(listed: dict[str, Any]) -> None:
    """And costs no other item its place."""
    catalog = of(("1", listed), ("1", item("good")))
    assert list(catalog) == [Item("good", SHA, 5)]
    assert (catalog.is_unverifiable("a"), catalog.is_unverifiable("good")) == (True, False)


@pytest.mark.parametrize("path", [None, 7, True, [], "", "/", "../a", "a//", "a\0", "a\ud800"], ids=ascii)
def test_an_item_without_a_usable_path_is_passed_over(path: object) -> None:
    """Such as the image ids of a cloud, which have none."""
    catalog = of(("1", item(path)), ("1", item("good")))
    assert list(catalog) == [Item("good", SHA, 5)]
    assert not catalog.is_unverifiable(str(path))


def test_path_and_proof_are_inherited() -> None:
    listed = products(("1", {"path": "a"}), ("1", {"path": "b", "size": 6}), sha256=SHA, size=5)
    assert sorted(build_catalog([listed])) == [Item("a", SHA, 5), Item("b", SHA, 6)]


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        ("20250101", "20250102", OTHER),
        ("20250102", "20250101", SHA),
        ("20250101", "20250101.1", OTHER),
        ("9", "11", SHA),
        ("same", "same", SHA),
    ],
)
def test_where_lists_disagree_the_greatest_version_name_wins(first: str, second: str, winner: str) -> None:
    """Version names sort as plain text, as the reference client sorts them."""
    one, other = products((first, item(sha256=SHA))), products((second, item(sha256=OTHER)))
    for catalog in (build_catalog([one, other]), of((first, item(sha256=SHA)), (second, item(sha256=OTHER)))):
        found = catalog.find("a")
        assert found is not None
        assert found.digest == winner


def test_one_good_listing_makes_a_path_servable() -> None:
    bare = {"path": "a", "md5": "00" * 16, "size": 5}
    for items in ((("2", bare), ("1", item())), (("1", item()), ("2", bare))):
        catalog = of(*items)
        assert catalog.find("a") == Item("a", SHA, 5)
        assert not catalog.is_unverifiable("a")


def test_spellings_of_one_path_are_one_entry() -> None:
    catalog = of(("1", item("a:b", SHA)), ("2", item("a%3Ab", OTHER)))
    assert list(catalog) == [Item("a:b", OTHER, 5)]


def test_items_are_found_by_digest() -> None:
    lists = [products(("1", item("a")), ("1", {"path": "c", "size": 5})), products(("1", item("b", OTHER)))]
    catalog = build_catalog(lists)
    assert catalog.find_digest(Digest(SHA)) == Item("a", Digest(SHA), 5)
    assert catalog.find_digest(Digest(OTHER)) == Item("b", Digest(OTHER), 5)
    assert catalog.find_digest(Digest("00" * 32)) is None


def test_a_path_in_several_lists_counts_once() -> None:
    one, other = products(("1", item("a"))), products(("2", item("a", OTHER)), ("1", item("b")))
    for lists in ([one, other], [other, one], [one, other, one]):
        catalog = build_catalog(lists)
        assert (len(catalog), sorted(catalog)) == (2, [Item("a", OTHER, 5), Item("b", SHA, 5)])


@pytest.mark.parametrize("shared", [0, 1, 2_000])
def test_many_paths_in_several_lists_are_counted_right(shared: int) -> None:
    """Whether lists have nothing in common, one path somewhere, or a great part."""
    lists = [
        products(*(("1", item(f"{number}")) for number in range(start, start + 3_000)))
        for start in (0, 3_000 - shared, 10_000)
    ]
    catalog = build_catalog(lists)
    assert len(catalog) == 9_000 - shared == sum(1 for _ in catalog)

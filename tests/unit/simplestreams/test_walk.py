"""Inheritance and aliases, case by case, each also put to the reference client."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.reference import flattened

from proxy.simplestreams.model import Products
from proxy.simplestreams.walk import flatten, positions


def products(document: Mapping[str, Any]) -> Products:
    """Wrap a tree as a products list."""
    return Products(content_id="test", updated=None, document=document)


def tree(
    top: Mapping[str, Any] | None = None,
    product: Mapping[str, Any] | None = None,
    version: Mapping[str, Any] | None = None,
    item: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make a list of one item, with these fields at its four levels."""
    versions = {"v": {**(version or {}), "items": {"i": dict(item or {})}}}
    return {**(top or {}), "products": {"p": {**(product or {}), "versions": versions}}}


def fields(document: Mapping[str, Any]) -> dict[str, str]:
    """Return what our walk says of the only item."""
    (listed,) = positions(products(document))
    assert (listed.product, listed.version, listed.item) == ("p", "v", "i")
    return flatten(listed)


NAMES = {"product_name": "p", "version_name": "v", "item_name": "i"}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (tree(), {}),
        (tree({"a": "top"}), {"a": "top"}),
        (tree({"a": "top"}, {"a": "product"}), {"a": "product"}),
        (tree({"a": "top"}, {"a": "product"}, {"a": "version"}), {"a": "version"}),
        (tree({"a": "top"}, {"a": "product"}, {"a": "version"}, {"a": "item"}), {"a": "item"}),
        (tree({"a": "top"}, {}, {}, {"b": "item"}), {"a": "top", "b": "item"}),
        # only text, numbers and booleans are inherited, as text
        (
            tree({}, {}, {}, {"a": 7, "b": 1.5, "c": True, "d": False, "e": ""}),
            {"a": "7", "b": "1.5", "c": "True", "d": "False", "e": ""},
        ),
        (tree({}, {}, {}, {"a": None, "b": [], "c": {}, "d": ["x"]}), {}),
        # and what is none of these hides nothing
        (tree({"a": "top"}, {}, {"a": None}, {"a": ["x"]}), {"a": "top"}),
        # a name given as a field is overwritten by the name, except further down
        (tree({"product_name": "top"}), {}),
        (tree({}, {"product_name": "field"}), {}),
        (tree({}, {}, {"product_name": "field"}), {"product_name": "field"}),
        (tree({}, {}, {"version_name": "field"}), {}),
        (tree({}, {}, {}, {"version_name": "field"}), {"version_name": "field"}),
        (tree({}, {}, {}, {"item_name": "field"}), {}),
    ],
)
def test_the_nearest_level_wins(document: dict[str, Any], expected: dict[str, str]) -> None:
    assert fields(document) == NAMES | expected
    assert flattened(document)["p", "v", "i"] == NAMES | expected


ALIASES = {"_aliases": {"krel": {"noble": {"release": "24.04", "lts": True}, "focal": {"release": "20.04"}}}}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (tree(ALIASES, {"krel": "noble"}), {"krel": "noble", "release": "24.04", "lts": "True"}),
        (tree(ALIASES, {}, {"krel": "focal"}), {"krel": "focal", "release": "20.04"}),
        (tree(ALIASES, {}, {}, {"krel": "focal"}), {"krel": "focal", "release": "20.04"}),
        (tree({**ALIASES, "krel": "noble"}), {"krel": "noble", "release": "24.04", "lts": "True"}),
        # it overwrites what stands beside it, and gives way to what stands below
        (tree(ALIASES, {"krel": "focal", "release": "old"}), {"krel": "focal", "release": "20.04"}),
        (
            tree(ALIASES, {"krel": "focal"}, {}, {"release": "item"}),
            {"krel": "focal", "release": "item"},
        ),
        # no text, no alias
        (tree(ALIASES, {"krel": 7}), {"krel": "7"}),
        (tree(ALIASES, {"krel": None}), {}),
        (tree({"_aliases": {}}, {"krel": "noble"}), {"krel": "noble"}),
        (tree({"_aliases": None}, {"krel": "noble"}), {"krel": "noble"}),
        (tree({"_aliases": {"krel": {}}}, {"krel": "noble"}), {"krel": "noble"}),
        # two fields with aliases: in the order in which they stand
        (
            tree({"_aliases": {"a": {"x": {"n": "by a"}}, "b": {"x": {"n": "by b"}}}}, {"b": "x", "a": "x"}),
            {"a": "x", "b": "x", "n": "by a"},
        ),
    ],
)
def test_aliases_add_their_fields(document: dict[str, Any], expected: dict[str, str]) -> None:
    assert fields(document) == NAMES | expected
    assert flattened(document)["p", "v", "i"] == NAMES | expected


@pytest.mark.parametrize(
    "aliases",
    [
        {"krel": {"other": {"release": "24.04"}}},
        {"krel": ["noble"]},
        {"krel": {"noble": "24.04"}},
        {"krel": {"noble": None}},
        ["krel"],
    ],
)
def test_an_alias_that_leads_nowhere_is_passed_over(aliases: object) -> None:
    """The reference client gives up on the whole list."""
    assert fields(tree({"_aliases": aliases}, {"krel": "noble"})) == NAMES | {"krel": "noble"}


def test_an_alias_can_give_the_path_and_the_proof() -> None:
    document = tree({"_aliases": {"copy": {"a": {"path": "a", "size": 3}}}}, {}, {}, {"copy": "a"})
    (position,) = positions(products(document))
    assert (position.field("path"), position.field("size")) == ("a", 3)


def test_expanding_leaves_the_published_tree_as_it_is() -> None:
    document = tree(ALIASES, {"krel": "noble"})
    assert fields(document)["release"] == "24.04"
    assert document == tree(ALIASES, {"krel": "noble"})


ITEM = {"path": "a"}
GOOD = {"versions": {"v": {"items": {"i": ITEM}}}}


@pytest.mark.parametrize(
    "listed",
    [
        {"p": GOOD, "odd": None},
        {"p": GOOD, "odd": "text"},
        {"p": GOOD, "odd": []},
        {"p": GOOD, "odd": {}},
        {"p": GOOD, "odd": {"versions": None}},
        {"p": GOOD, "odd": {"versions": ["v"]}},
        {"p": GOOD, "odd": {"versions": {"v": 7}}},
        {"p": GOOD, "odd": {"versions": {"v": {"items": []}}}},
        {"p": GOOD, "odd": {"versions": {"v": {"items": {"i": "path"}}}}},
        {"p": {"versions": {"v": {"items": {"i": ITEM, "odd": None}}}}},
        {"p": {"versions": {"v": {"items": {"i": ITEM}}, "odd": True}}},
    ],
    ids=str,
)
def test_what_has_the_wrong_shape_costs_nothing_but_itself(listed: dict[str, Any]) -> None:
    found = list(positions(products({"products": listed})))
    assert [(at.product, at.version, at.item, at.field("path")) for at in found] == [("p", "v", "i", "a")]


def test_a_field_is_looked_up_without_flattening() -> None:
    document = tree({"a": "top", "b": "top"}, {"b": "product", "c": None}, {"d": 1}, {"e": [], "f": True})
    (position,) = positions(products(document))
    found = {name: position.field(name) for name in "abcdefg"}
    assert found == {"a": "top", "b": "product", "c": None, "d": 1, "e": None, "f": True, "g": None}

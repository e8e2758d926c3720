"""Going through a products list, with inheritance and aliases as the reference reads them.

Order of inheritance, later wins: the list's own fields, the product's, its name,
the version's, its name, the item's, its name (python-simplestreams 0.1.0.post59,
measured). Only text, numbers and booleans are inherited, as text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from proxy.simplestreams.model import Products

_Node = Mapping[str, Any]


class Position(NamedTuple):
    """Where an item stands: its names, and the nodes it inherits from, outermost first."""

    product: str
    version: str
    item: str
    nodes: tuple[_Node, _Node, _Node, _Node]

    def field(self, name: str) -> str | float | None:
        """Return one inherited field without flattening them all."""
        for node in reversed(self.nodes):
            value = node.get(name)
            if isinstance(value, (str, int, float)):
                return value
        return None


def versions(products: Products) -> Iterator[tuple[str, str, list[Position]]]:
    """Yield every version of the list: product, version, and its items.

    Nodes of the wrong shape are passed over.
    """
    top = products.document
    aliases = top.get("_aliases")
    if not isinstance(aliases, dict):
        aliases = {}
    top = _with_aliases(top, aliases)
    for product_name, product in _children(top, "products", aliases):
        for version_name, version in _children(product, "versions", aliases):
            items = [
                Position(product_name, version_name, item_name, (top, product, version, item))
                for item_name, item in _children(version, "items", aliases)
            ]
            yield product_name, version_name, items


def positions(products: Products) -> Iterator[Position]:
    """Yield every item of the list."""
    for _, _, items in versions(products):
        yield from items


def flatten(position: Position) -> dict[str, str]:
    """Return all that is said of an item, as text."""
    top, product, version, item = position.nodes
    fields = _scalars(top)
    fields.update(_scalars(product))
    fields["product_name"] = position.product
    fields.update(_scalars(version))
    fields["version_name"] = position.version
    fields.update(_scalars(item))
    fields["item_name"] = position.item
    return fields


def _children(node: _Node, key: str, aliases: _Node) -> Iterator[tuple[str, _Node]]:
    children = node.get(key)
    if not isinstance(children, dict):
        return
    for name, child in children.items():
        if isinstance(child, dict):
            yield name, _with_aliases(child, aliases) if aliases else child


def _with_aliases(node: _Node, aliases: _Node) -> _Node:
    expanded = node
    for field in [name for name in node if name in aliases]:
        value, choices = expanded[field], aliases[field]
        attributes = choices.get(value) if isinstance(choices, dict) and isinstance(value, str) else None
        if isinstance(attributes, dict):
            expanded = {**expanded, **attributes}
    return expanded


def _scalars(node: _Node) -> dict[str, str]:
    return {name: str(value) for name, value in node.items() if isinstance(value, (str, int, float))}

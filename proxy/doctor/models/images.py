"""What virt-builder and Multipass need in a list of disk images. Pure."""

from collections.abc import Iterator
from typing import Any


def builder_index_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield why virt-builder stops at an index."""
    entries = document.get("index")
    for name, entry in entries.items() if isinstance(entries, dict) else ():
        for field in ("format", "datatype"):
            if not isinstance(entry, dict) or not isinstance(entry.get(field), str):
                yield f"entry {name} has no '{field}' that is a text"


def builder_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield why virt-builder stops at a list: what it needs of one product it needs of all."""
    for name, product in _objects(document, "products"):
        if not isinstance(product.get("arch"), str):
            yield f"product {name} has no 'arch'"
        for version, content in _objects(product, "versions"):
            if not any(isinstance(one.get("pubname"), str) for one in (content, product)):
                yield f"version {version} of product {name} has no 'pubname'"


def multipass_misfits(document: dict[str, Any]) -> Iterator[str]:
    """Yield why Multipass stops at a list."""
    if not any(True for _ in _objects(document, "products")):
        yield "it has no products"


def _objects(node: dict[str, Any], key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    children = node.get(key)
    for name, child in children.items() if isinstance(children, dict) else ():
        if isinstance(child, dict):
            yield name, child

"""The reference client's own reading of a list, to compare ours with."""

import copy
import json
import warnings
from collections.abc import Mapping
from typing import Any

with warnings.catch_warnings():
    # It compares versions with a class of distutils that says it is deprecated.
    warnings.simplefilter("ignore")
    from simplestreams import util

Place = tuple[str, str, str]
"""Product, version and item."""


def signed_text(raw: bytes) -> bytes:
    """Return the text of a clear-signed document, its signature unchecked."""
    text: str = util.read_signed(raw.decode(), checked=False)
    return text.encode()


def flattened(document: Mapping[str, Any]) -> dict[Place, dict[str, str]]:
    """Return all that the reference client says of each item of a products list."""
    tree = copy.deepcopy(dict(document))
    util.expand_tree(tree)
    items: dict[Place, dict[str, str]] = {}

    def note(_item: object, tree: object, place: Place) -> None:
        items[place] = util.products_exdata(tree, place)

    util.walk_products(tree, cb_item=note)
    return items


def flattened_json(raw: bytes) -> dict[Place, dict[str, str]]:
    """Return the same for the JSON text of a list."""
    return flattened(json.loads(raw))

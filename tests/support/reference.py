"""The reference client's own reading of a list, and its choice of items, to compare ours with."""

import copy
import json
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

with warnings.catch_warnings():
    # It compares versions with a class of distutils that says it is deprecated.
    warnings.simplefilter("ignore")
    from simplestreams import filters, mirrors, objectstores, util

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


def is_filter(expression: str) -> bool:
    """Say whether the reference client takes an expression for a filter."""
    try:
        filters.ItemFilter(expression)
    except (ValueError, re.error):
        return False
    return True


def passes(expression: str, fields: Mapping[str, str]) -> bool:
    """Say whether an item with these fields passes a filter."""
    return bool(filters.ItemFilter(expression).matches(fields))


def chosen(root: Path, index: str, expressions: Sequence[str], newest: int | None) -> list[str]:
    """Return the paths that `sstream-mirror --dry-run` would fetch from an unsigned tree on disk, sorted."""
    config = {
        "max_items": newest,
        "keep_items": False,
        "filters": filters.get_filters(expressions),
        "item_download": True,
    }
    writer = mirrors.DryRunMirrorWriter(config=config, objectstore=objectstores.MemoryObjectStore())
    reader = mirrors.UrlMirrorReader(f"{root}/", policy=lambda content, path: content)  # noqa: ARG005
    writer.sync(reader, index)
    return sorted(path for _, path, _ in writer.downloading)

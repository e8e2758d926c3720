"""What simplestreams documents say, as values.

Formats: `index:1.0` and `products:1.0` (simplestreams, doc/README). Times are
Unix seconds. Nothing here reads text; `parse.py` does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from proxy.digest import Digest

INDEX_FORMAT = "index:1.0"
PRODUCTS_FORMAT = "products:1.0"


class Item(NamedTuple):
    """A file that a verified list names together with what proves it."""

    path: str
    digest: Digest
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexEntry:
    """One document that an index names."""

    content_id: str
    path: str
    format: str
    updated: float | None

    @property
    def is_followed(self) -> bool:
        """Whether the entry names a products list or a nested index."""
        return self.format in {INDEX_FORMAT, PRODUCTS_FORMAT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """An index: the products lists of a mirror, or further indexes."""

    updated: float | None
    entries: tuple[IndexEntry, ...]
    oddities: tuple[str, ...] = ()
    """What was passed over, in words."""
    omissions: tuple[str, ...] = ()
    """What entries do not say though they should, in words."""
    is_of_mirrors: bool = False
    """Whether it names mirrors in place of lists, as Juju's does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """A products list. `document` is the tree as published; `walk.py` reads it."""

    content_id: str
    updated: float | None
    document: Mapping[str, Any]

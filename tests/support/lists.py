"""Texts of indexes and lists, read in one step."""

from collections.abc import Iterable

from proxy.simplestreams.catalog import Catalog, pack_list
from proxy.simplestreams.listing import Listing
from proxy.simplestreams.model import Index, Products
from proxy.simplestreams.parse import FormatError, parse_document


def build_catalog(lists: Iterable[Products]) -> Catalog:
    """Join products lists into one catalog."""
    return Catalog(Listing(pack_list(products)) for products in lists)


def parse_index(raw: bytes) -> Index:
    """Read an index. Raises FormatError for anything else."""
    parsed = parse_document(raw)
    if not isinstance(parsed, Index):
        raise FormatError("it is a products list where an index is expected")
    return parsed

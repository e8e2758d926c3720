"""Choosing items of products lists: by a condition, and the newest versions only.

Chooses what `sstream-mirror` with the same filters and `--max` would mirror into
an empty directory (python-simplestreams 0.1.0.post59, measured).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.walk import flatten, versions

Fields = Mapping[str, str]
"""What is said of an item, flattened to text."""

Condition = Callable[[Fields], bool]
"""Says of an item whether it is wanted."""


class Choice(NamedTuple):
    """A chosen item: what is said of it, and the file that it names, if it names one."""

    fields: Fields
    file: Item | None


def select(lists: Iterable[Products], condition: Condition, newest: int | None) -> Iterator[Choice]:
    """Yield the wanted items of the `newest` versions of each product; None means all versions.

    Versions are ordered as plain text. The condition acts on items; a version
    that it leaves empty is out, one that was empty before still counts.
    """
    for products in lists:
        chosen: dict[str, dict[str, list[Choice]]] = {}
        for product, version, positions in versions(products):
            items = [(position, flatten(position)) for position in positions]
            wanted = [Choice(fields, listed_file(one)) for one, fields in items if condition(fields)]
            if wanted or not items:
                chosen.setdefault(product, {})[version] = wanted
        for by_version in chosen.values():
            for version in sorted(by_version, reverse=True)[:newest]:
                yield from by_version[version]

"""What a mirror can serve: every path its verified lists name, with digest and size.

A Catalog is a value: built once from the lists of one generation, never changed.
"""

from collections.abc import Iterable, Iterator

from proxy.digest import Digest, InvalidDigest, parse_digest
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.paths import PathError, canonical_path
from proxy.simplestreams.walk import Position, positions

_LONGEST_SIZE = 19
"""In digits: Python refuses to read a text of thousands."""


class Catalog:
    """Paths with digest and size, and the listed paths that nothing can prove."""

    __slots__ = ("_entries", "unverifiable")

    def __init__(
        self, entries: dict[str, tuple[Digest, int]], unverifiable: frozenset[str] = frozenset()
    ) -> None:
        self._entries = entries
        self.unverifiable = unverifiable

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, path: object) -> bool:
        return path in self._entries

    def __iter__(self) -> Iterator[Item]:
        for path, (digest, size_bytes) in self._entries.items():
            yield Item(path, digest, size_bytes)

    def find(self, path: str) -> Item | None:
        """Return the item at a canonical path, None when no list names it."""
        entry = self._entries.get(path)
        return None if entry is None else Item(path, *entry)

    def dropped_by(self, newer: "Catalog") -> "Catalog":
        """Return what this catalog names and `newer` does not."""
        return Catalog({path: entry for path, entry in self._entries.items() if path not in newer})


def build_catalog(lists: Iterable[Products]) -> Catalog:
    """Join products lists into one catalog.

    A path is immutable by the format's rule. Where lists disagree all the same,
    the entry of the greatest version name wins. Items without a usable sha256
    and size are remembered as unverifiable: they cannot be served.
    """
    entries: dict[str, tuple[Digest, int]] = {}
    versions: dict[str, str] = {}
    unverifiable: set[str] = set()
    for products in lists:
        for position in positions(products):
            path = _path(position)
            if path is None:
                continue
            proof = _proof(position)
            if proof is None:
                unverifiable.add(path)
            elif path not in entries or position.version > versions[path]:
                entries[path] = proof
                versions[path] = position.version
    return Catalog(entries, frozenset(unverifiable - entries.keys()))


def listed_file(position: Position) -> Item | None:
    """Return the file that an item names, None when it names none or nothing proves it."""
    path, proof = _path(position), _proof(position)
    return None if path is None or proof is None else Item(path, *proof)


def _path(position: Position) -> str | None:
    path = position.field("path")
    if not isinstance(path, str):
        return None
    try:
        return canonical_path(path)
    except PathError:
        return None


def _proof(position: Position) -> tuple[Digest, int] | None:
    try:
        digest = parse_digest(position.field("sha256"))
    except InvalidDigest:
        return None
    size = position.field("size")
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) <= _LONGEST_SIZE:
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        return None
    return digest, size

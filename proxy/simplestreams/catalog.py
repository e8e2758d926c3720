"""What a mirror can serve: every path its verified lists name, with digest and size.

A Catalog is a value: built once from the lists of one generation, never changed; it only counts when asked.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from proxy.digest import Digest, InvalidDigest, parse_digest
from proxy.simplestreams.listing import Conflict, Entry, Listing, contradict, pack
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.paths import PathError, listed_path
from proxy.simplestreams.walk import Position, positions

MOST_CONFLICTS = 100
"""So many are told of."""
_LONGEST_SIZE = 19
"""In digits: Python refuses to read a text of thousands."""
_LARGEST_SIZE_BYTES = 2**63 - 1
"""No file is larger (off_t)."""


class Catalog:
    """Several packed lists as one.

    A path is immutable by the format's rule. Where lists disagree all the same,
    the entry of the greatest version name wins, of the first list if there are several.
    """

    __slots__ = ("_conflicts", "_count", "_listings")

    def __init__(self, listings: Iterable[Listing]) -> None:
        self._listings = tuple(listings)
        self._count: int | None = None
        self._conflicts: list[ListConflict] | None = None

    def __len__(self) -> int:
        """Count what can be served, each path once.

        The first time may take a tenth of a second for a million paths, and
        seconds where lists name the same ones.
        """
        if self._count is None:
            if Listing.are_disjoint(self._listings):
                self._count = sum(listing.verifiable for listing in self._listings)
            else:
                self._count = sum(1 for _ in self)
        return self._count

    def __iter__(self) -> Iterator[Item]:
        """Yield every item that can be served, once."""
        for number, listing in enumerate(self._listings):
            for entry in listing:
                is_first = not any(_names(earlier, entry.path) for earlier in self._listings[:number])
                item = self.find(entry.path) if entry.digest is not None and is_first else None
                if item is not None:
                    yield item

    @property
    def is_damaged(self) -> bool:
        """Whether some list of it could not be read any more."""
        return any(listing.is_damaged for listing in self._listings)

    def find(self, path: str) -> Item | None:
        """Return the item at a canonical path; None when no list names it, or nothing proves it."""
        found = [entry for listing in self._listings if (entry := listing.find(path)) is not None]
        best = max((entry for entry in found if entry.digest is not None), key=_version, default=None)
        return None if best is None else _item(best)

    def conflicts(self) -> list["ListConflict"]:
        """Return the paths that are named twice, and not alike; the first hundred of them.

        The first time may take as long as counting them.
        """
        if self._conflicts is None:
            self._conflicts = list(islice(self._find_conflicts(), MOST_CONFLICTS))
        return self._conflicts

    def _find_conflicts(self) -> Iterator["ListConflict"]:
        for number, listing in enumerate(self._listings):
            for kept, other in listing.conflicts:
                yield ListConflict(Conflict(kept, other), number, number)
        if Listing.are_disjoint(self._listings):
            return
        for found in Listing.shared(self._listings):
            by_path: dict[str, list[tuple[int, Entry]]] = {}
            for number, entry in found:  # Beginnings of hashes may be alike by chance.
                by_path.setdefault(entry.path, []).append((number, entry))
            for entries in by_path.values():
                kept_in, kept = max(entries, key=lambda one: _rank(one[1]))
                for other_in, other in entries:
                    if contradict(kept, other):
                        yield ListConflict(Conflict(kept, other), kept_in, other_in)

    def find_digest(self, digest: Digest) -> Item | None:
        """Return an item with a digest, None when no list names one."""
        found = (listing.find_digest(digest) for listing in self._listings)
        return next((_item(entry) for entry in found if entry is not None), None)

    def is_unverifiable(self, path: str) -> bool:
        """Whether a list names a path, and none gives a sha256 and size to prove it with."""
        found = [entry for listing in self._listings if (entry := listing.find(path)) is not None]
        return bool(found) and all(entry.digest is None for entry in found)


class ListConflict(NamedTuple):
    """A path on which lists disagree, and the numbers of the lists."""

    conflict: Conflict
    kept_in: int
    other_in: int


def pack_list(products: Products) -> bytes:
    """Return what a list names, packed, with the first hundred paths that it names twice and not alike.

    Items without a usable sha256 and size are in it without a digest: they cannot be served.
    """
    best, rivals = _read(products)
    conflicts = (
        Conflict(best[path], other)
        for path, others in rivals.items()
        for other in others
        if contradict(best[path], other)
    )
    return pack(best.values(), list(islice(conflicts, MOST_CONFLICTS)))


def _read(products: Products) -> tuple[dict[str, Entry], dict[str, list[Entry]]]:
    """Return the entry that counts for each path, and those that another contradicts."""
    best: dict[str, Entry] = {}
    rivals: dict[str, list[Entry]] = {}
    for position in positions(products):
        path = stated_path(position)
        if path is None:
            continue
        proof = _proof(position)
        entry = Entry(path, position.version, *(proof or (None, 0)))
        known = best.get(path)
        if known is None or _rank(entry) > _rank(known):
            best[path] = entry
        if known is not None and contradict(known, entry):
            others = rivals.setdefault(path, [known])
            if all(contradict(entry, other) for other in others):
                others.append(entry)
    return best, rivals


def listed_file(position: Position) -> Item | None:
    """Return the file that an item names, None when it names none or nothing proves it."""
    path, proof = stated_path(position), _proof(position)
    return None if path is None or proof is None else Item(path, *proof)


def stated_path(position: Position) -> str | None:
    """Return the canonical path of an item, None when it has none that can be."""
    path = position.field("path")
    if not isinstance(path, str):
        return None
    try:
        return listed_path(path)
    except PathError:
        return None


def _proof(position: Position) -> tuple[Digest, int] | None:
    try:
        digest = parse_digest(position.field("sha256"))
    except InvalidDigest:
        return None
    size = stated_size(position)
    return None if size is None else (digest, size)


def stated_size(position: Position) -> int | None:
    """Return the size of an item in bytes, None when it states none that can be."""
    size = position.field("size")
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) <= _LONGEST_SIZE:
        size = int(size)
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _LARGEST_SIZE_BYTES:
        return None
    return size


def _rank(entry: Entry) -> tuple[bool, str]:
    return entry.digest is not None, entry.version


def _version(entry: Entry) -> str:
    return entry.version


def _names(listing: Listing, path: str) -> bool:
    entry = listing.find(path)
    return entry is not None and entry.digest is not None


def _item(entry: Entry) -> Item:
    assert entry.digest is not None  # noqa: S101 - only entries with a proof are asked for
    return Item(entry.path, entry.digest, entry.size_bytes)

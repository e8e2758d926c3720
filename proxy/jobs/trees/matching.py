"""Which files of a tree may be what the lists want: by size, and by name if there is a choice.

A name proves nothing: what a file is shows when it is hashed. It only saves hashing files twice.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from proxy.digest import Digest
from proxy.documents.generation import Edition
from proxy.simplestreams.model import Item
from proxy.trees.finding import HINTS, Entry, Sort, names_of
from proxy.trees.leftovers import Kind, Leftovers, whole_name

_DOCUMENTS = ("streams/",)
_VERSION = re.compile(r"(?<![0-9])20[0-9]{6}(?:[._-][0-9]+)*(?![0-9])")
"""A version as publishers write it: a day, and perhaps a number."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may be an item."""

    entry: Entry
    item: Item
    """The one that it is by its name, else one of its size."""
    is_named: bool
    otherwise: Kind
    """What it is if it turns out to be nothing that is wanted."""


@dataclass(slots=True, kw_only=True)
class Matched:
    """What the files of a tree may be."""

    candidates: list[Candidate] = field(default_factory=list)
    """Those to be hashed, named ones first."""
    held: list[Item] = field(default_factory=list)
    """What is in the store already, and in the tree by its name and size."""
    damaged: list[Item] = field(default_factory=list)
    """What is in the tree by its name, and certainly not whole."""


class Wanted:
    """The items that lists want, of one generation or several."""

    def __init__(self, editions: Iterable[Edition], selected: Collection[Digest] | None) -> None:
        """Want what `editions` list: all, or only what is selected."""
        self._editions = tuple(editions)
        self._shapes: set[str] = set()
        self.by_digest: dict[Digest, Item] = {}
        self.by_size: dict[int, dict[Digest, Item]] = {}
        for edition in self._editions:
            for item in edition.catalog:
                self._shapes.add(_shape(item.path))
                if selected is None or item.digest in selected:
                    self.by_digest.setdefault(item.digest, item)
                    self.by_size.setdefault(item.size_bytes, {})[item.digest] = item

    def named(self, names: Iterable[str]) -> Item | None:
        """Return the listed item, selected or not, of the first name that names one."""
        found = (edition.catalog.find(name) for name in names for edition in self._editions)
        return next((one for one in found if one is not None), None)

    def is_unprovable(self, names: Iterable[str]) -> bool:
        """Whether a list names it and says nothing that would prove it."""
        return any(edition.catalog.is_unverifiable(name) for name in names for edition in self._editions)

    def is_of_other_generation(self, names: Iterable[str]) -> bool:
        """Whether lists name such a file of another version in its place."""
        return any(_shape(name) in self._shapes for name in names)

    def is_document(self, names: Iterable[str]) -> bool:
        """Whether it is a document of these editions."""
        return any(edition.document(name) is not None for name in names for edition in self._editions)


def match(
    entries: Iterable[Entry], wanted: Wanted, here: Mapping[Digest, int], leftovers: Leftovers
) -> Matched:
    """Say of each entry what it may be; `here` are the sizes of wanted items that the store has."""
    matched = Matched()
    unnamed: list[Candidate] = []
    for entry in entries:
        kind = _kind_at_once(entry)
        if kind is not None:
            leftovers.add(kind, entry.path, entry.problem)
            continue
        names = names_of(entry.path)
        whole = whole_name(entry.path)
        item = wanted.named(names) or (None if whole is None else wanted.named(names_of(whole)))
        is_part = whole is not None and wanted.named(names) is None
        if item is not None and item.digest not in wanted.by_digest:
            leftovers.add(Kind.UNSELECTED, entry.path)
        elif item is not None and item.size_bytes == entry.size_bytes:
            if item.digest in here:
                matched.held.append(item)
            else:
                kind = Kind.PART if is_part else Kind.WRONG_HASH
                matched.candidates.append(Candidate(entry, item, is_named=True, otherwise=kind))
        else:
            kind = _kind_of(entry, names, wanted, is_part=whole is not None)
            told = ""
            if item is not None:
                matched.damaged.append(item)
                kind = Kind.PART if is_part else Kind.WRONG_SIZE
                told = f"{entry.size_bytes:,} of {item.size_bytes:,} bytes"
            moved = _of_that_size(entry, wanted, here)
            if moved is None:
                leftovers.add(kind, entry.path, told)
            else:
                unnamed.append(Candidate(entry, moved, is_named=False, otherwise=kind))
    matched.candidates += unnamed
    return matched


def _shape(path: str) -> str:
    """Return what a path has in common with that of other versions of the same file."""
    return _VERSION.sub("*", path)


def _kind_at_once(entry: Entry) -> Kind | None:
    """Return the kind of an entry that is certainly no item."""
    if entry.path.startswith(HINTS):
        return Kind.HINT
    kinds = {Sort.LINK: Kind.LINK, Sort.OTHER: Kind.OTHER, Sort.UNREADABLE: Kind.UNREADABLE}
    return kinds.get(entry.sort)


def _of_that_size(entry: Entry, wanted: Wanted, here: Mapping[Digest, int]) -> Item | None:
    found = wanted.by_size.get(entry.size_bytes, {})
    return next((item for digest, item in found.items() if digest not in here), None)


def _kind_of(entry: Entry, names: list[str], wanted: Wanted, *, is_part: bool) -> Kind:
    if is_part:
        return Kind.PART
    if wanted.is_unprovable(names):
        return Kind.UNPROVABLE
    if wanted.is_of_other_generation(names):
        return Kind.OTHER_GENERATION
    return Kind.DOCUMENT if entry.path.startswith(_DOCUMENTS) else Kind.UNLISTED

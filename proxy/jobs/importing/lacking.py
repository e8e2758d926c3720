"""What generations that wait lack, by what is in the store. All functions block."""

import time
from collections.abc import Callable
from typing import NamedTuple

from proxy.bundles.contents import Contents, ContentsUnreadable, File, read_contents
from proxy.digest import Digest
from proxy.jobs.importing.waiting import Waiting
from proxy.store.protocols import ReadStore

_LOOKED_EVERY_S = 30.0
"""A generation may name many thousands of items, and each takes a look at the disk."""


class Lacks(NamedTuple):
    """How much a generation lacks, each item once."""

    files: int
    bytes: int


def stored_contents(store: ReadStore, digest: Digest) -> Contents | None:
    """Return what a generation that waits needs; None if the store has lost that."""
    text = store.read(digest)
    try:
        return None if text is None else read_contents(text)
    except ContentsUnreadable:
        return None


def lacking(store: ReadStore, one: Waiting) -> list[File]:
    """Return the items that a generation waits for now, however long ago it was imported."""
    contents = stored_contents(store, one.contents)
    return [] if contents is None else _missing(store, one, contents)


class LacksOfNow:
    """How much generations lack, counted now and then."""

    def __init__(self, store: ReadStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._known: dict[Digest, tuple[float, Lacks]] = {}

    def of(self, one: Waiting) -> Lacks:
        """Return how much a generation lacks; as it was recorded if the store has lost what it needs."""
        now = self._clock()
        counted_at, lacks = self._known.get(one.contents, (None, None))
        if counted_at is None or lacks is None or now - counted_at >= _LOOKED_EVERY_S:
            lacks = self._count(one)
            self._known = {one.contents: (now, lacks), **self._fresh(now)}
        return lacks

    def _count(self, one: Waiting) -> Lacks:
        contents = stored_contents(self._store, one.contents)
        if contents is None:
            return Lacks(one.missing_files, one.missing_bytes)
        sizes = {file.sha256: file.size for file in _missing(self._store, one, contents)}
        return Lacks(len(sizes), sum(sizes.values()))

    def _fresh(self, now: float) -> dict[Digest, tuple[float, Lacks]]:
        return {digest: one for digest, one in self._known.items() if now - one[0] < _LOOKED_EVERY_S}


def _missing(store: ReadStore, one: Waiting, contents: Contents) -> list[File]:
    return [
        file
        for file in contents.items
        if file.path not in one.unprovable and not store.is_whole(file.sha256, file.size)
    ]

"""Removing blobs so that others fit: `eviction_order.py` decides which, this does it.

A blob's name goes within a transaction in which no pin of it was found, and which
pinning waits for: whoever was told of a pin finds the blob there, or it is gone. Its
row goes in the same step: whoever stores the blob again adds its own after that. Its
bytes go last, for no transaction may wait for as long as a disk takes to free
them. All methods block: they have a thread of their own, `Threads.removal`.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import IdlePartial, Usage, choose_evicted
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins
from proxy.store.protocols import PruneStore, Removal
from proxy.store.reservations import Reservations

log = logging.getLogger(__name__)

_EVICTED_AT_ONCE = 20


def _never() -> bool:
    return False


class _Withdrawn(NamedTuple):
    """A blob that nobody finds any more, and whose bytes are still to be freed."""

    removal: Removal
    had_row: bool


class Eviction:
    """What may be removed from one store, and its removal."""

    def __init__(
        self,
        store: PruneStore,
        ledger: Ledger,
        blobs: BlobRecords,
        pins: Pins,
        reservations: Reservations,
        in_use: Callable[[], set[Digest]] = set,
        on_evicted: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._blobs = blobs
        self._pins = pins
        self._reservations = reservations
        self._in_use = in_use
        """Returns blobs that must stay besides the pinned ones, such as served documents."""
        self._on_evicted = on_evicted
        """Told the bytes of each evicted blob."""

    def protected(self) -> set[Digest]:
        """Return the blobs that eviction must leave."""
        return self._pins.protected() | self._in_use()

    def documents_in_use(self) -> set[Digest]:
        """Return the blobs of documents that are served, whether or not anything pins them."""
        return self._in_use()

    def candidates(self) -> list[Usage]:
        """Return all that eviction may choose from: blobs, and partial files that nobody goes on with."""
        return [*self._blobs.usages(), *self._reservations.idle_partials()]

    def evictable_bytes(self) -> int:
        """Return how much could be made free in all."""
        protected = self.protected()
        return sum(usage.size_bytes for usage in self.candidates() if usage.digest not in protected)

    def may_free(self, needed_bytes: int, *spared: Digest) -> bool:
        """Whether as many bytes could be made free."""
        return bool(choose_evicted(self.candidates(), self.protected() | set(spared), needed_bytes))

    def make_space(self, needed_bytes: int, *spared: Digest, is_over: Callable[[], bool] = _never) -> int:
        """Remove what was used least recently until as many bytes are free, if that is possible.

        Ends early, after what freed some, once the turn `is_over`. Returns how many bytes that freed.
        """
        protected = self.protected() | set(spared)
        freed_bytes = 0
        while chosen := choose_evicted(self.candidates(), protected, needed_bytes - freed_bytes):
            partials = [usage for usage in chosen if isinstance(usage, IdlePartial)]
            blobs = [usage for usage in chosen if not isinstance(usage, IdlePartial)]
            freed_bytes += self._drop(partials)
            freed_bytes += self.evict(blobs, is_over=is_over)
            if freed_bytes >= needed_bytes or (freed_bytes and is_over()):
                break
            # Some are being read; others must go instead.
            protected |= {usage.digest for usage in chosen}
        return freed_bytes

    def evict(
        self,
        usages: Sequence[Usage],
        *,
        spared: Callable[[], set[Digest]] | None = None,
        is_over: Callable[[], bool] = _never,
    ) -> int:
        """Remove these blobs unless they are being read, or `spared`; return how many bytes that freed.

        What is spared (what `protected` says unless told otherwise) is asked again and again:
        somebody may pin one while others go.
        """
        withdraw = self._withdraw_unpinned if spared is None else self._withdraw
        spared = self.protected if spared is None else spared
        freed_bytes = 0
        for start in range(0, len(usages), _EVICTED_AT_ONCE):
            kept = spared()
            for usage in usages[start : start + _EVICTED_AT_ONCE]:
                withdrawn = None if usage.digest in kept else withdraw(usage.digest)
                if withdrawn is None:
                    continue
                withdrawn.removal.finish()
                if withdrawn.had_row:
                    freed_bytes += usage.size_bytes
                    self._on_evicted(usage.size_bytes)
                    log.info("blob.evicted digest=%s bytes=%d", usage.digest, usage.size_bytes)
                if freed_bytes and is_over():
                    return freed_bytes
        return freed_bytes

    def _withdraw_unpinned(self, digest: Digest) -> "_Withdrawn | None":
        """Take a blob's name and row away unless it is being read or pinned."""
        with self._ledger.transaction():
            return None if self._pins.is_protected(digest) else self._withdraw(digest)

    def _withdraw(self, digest: Digest) -> "_Withdrawn | None":
        """Take a blob's name and row away unless it is being read; who stores it anew waits to add a row."""
        with self._blobs.transaction():
            removal = self._store.withdraw(digest)
            return None if removal is None else _Withdrawn(removal, had_row=self._blobs.forget(digest))

    def _drop(self, partials: Iterable[IdlePartial]) -> int:
        """Remove partial files unless somebody has gone on with them; return how many bytes that freed."""
        freed_bytes = 0
        for usage in partials:
            if self._store.drop_partial(usage.digest):
                self._reservations.give_back_without_file(usage.digest)
                freed_bytes += usage.size_bytes
                log.info("partial.evicted digest=%s bytes=%d", usage.digest, usage.size_bytes)
        return freed_bytes

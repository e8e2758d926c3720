"""All that keeps a store within its limits, joined for tests that have no event loop of their own."""

import asyncio
from collections.abc import Callable

from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction import Eviction
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins
from proxy.store.proofs import Proofs
from proxy.store.protocols import PruneStore
from proxy.store.reconciliation import Reconciliation
from proxy.store.reservations import Reservations
from proxy.store.room import Room
from proxy.system.threads import Threads
from support.running import Clock

_THREADS = Threads()


class Keeping:
    """The parts, and the room that they make."""

    def __init__(
        self,
        store: PruneStore,
        ledger: Ledger,
        limits: StoreLimits,
        in_use: Callable[[], set[Digest]] = set,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """Join them; by its `clock` no turn of the room's ends, unless told otherwise."""
        self.blobs = BlobRecords(ledger)
        self.pins = Pins(ledger)
        self.reservations = Reservations(store, ledger, self.blobs, Proofs(store, self.blobs), limits)
        self.eviction = Eviction(store, ledger, self.blobs, self.pins, self.reservations, in_use)
        self.room = Room(store, self.reservations, self.eviction, _THREADS, clock)
        self.reconciliation = Reconciliation(store, self.blobs, self.reservations)
        self.give_back, self.shrink = self.reservations.give_back, self.reservations.shrink
        self.settle, self.evict = self.reservations.settle, self.eviction.evict
        self.may_fit, self.foresee = self.room.may_fit, self.room.foresee
        self.make_headroom, self.reconcile = self.room.make_headroom, self.reconciliation.reconcile

    def reserve(self, digest: Digest, size_bytes: int, label: str = "", before_bytes: int = 0) -> bool:
        """Set space aside, and wait for that."""
        return asyncio.run(self.room.reserve(digest, size_bytes, label, before_bytes))


def room(store: LocalStore, ledger: Ledger, limit_bytes: int | None = 100, *in_use: Digest) -> Keeping:
    """Make room within `limit_bytes`."""
    limits = StoreLimits(limit_bytes=limit_bytes, min_free_bytes=0)
    return Keeping(store, ledger, limits, lambda: set(in_use))


def fill(store: LocalStore, ledger: Ledger, clock: Clock, *sizes: int) -> list[Digest]:
    """Put blobs of these sizes into the store, each used later than the one before."""
    digests = []
    for number, size in enumerate(sizes):
        digests.append(store.put(bytes([number]) * size))
        BlobRecords(ledger).add(digests[-1], size)
        clock.advance(1)
    return digests


def here(store: LocalStore, ledger: Ledger) -> set[Digest]:
    """Return the blobs that are here, of which disk and ledger must agree."""
    found = {one.digest: one.size_bytes for one in store.scan()}
    assert found == {usage.digest: usage.size_bytes for usage in BlobRecords(ledger).usages()}
    assert BlobRecords(ledger).total_bytes() == sum(found.values())
    return set(found)

"""What the whole cache stands on: the store, its ledger, threads for both, and counters."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.counting.counters import Counters
from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction import Eviction
from proxy.store.health import StoreHealth
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.reader import LocalReader
from proxy.store.local.store import LocalStore, UntouchedStore
from proxy.store.pins import Pins
from proxy.store.proofs import Proofs
from proxy.store.protocols import PruneStore, ReadStore
from proxy.store.reconciliation import Reconciliation
from proxy.store.reservations import Reservations
from proxy.store.room import Room
from proxy.store.usage import UsageReader
from proxy.system.page_cache import recognise_filesystem
from proxy.system.threads import Threads


@dataclass(frozen=True, slots=True)
class Storage:
    """The parts that block, and where to run them."""

    data_dir: Path
    """Where this machine keeps what is no blob, such as the ledger."""
    store: PruneStore
    ledger: Ledger
    blobs: BlobRecords
    pins: Pins
    proofs: Proofs
    reservations: Reservations
    eviction: Eviction
    room: Room
    reconciliation: Reconciliation
    usage: UsageReader
    health: StoreHealth
    threads: Threads
    counters: Counters

    @classmethod
    def of(
        cls,
        data_dir: Path,
        store: PruneStore,
        ledger: Ledger,
        limits: StoreLimits,
        threads: Threads,
        counters: Counters,
        in_use: Callable[[], set[Digest]],
    ) -> "Storage":
        """Join the parts over a store and its ledger; `in_use` tells which documents are served. Blocks."""
        health = StoreHealth(data_dir / "boards" / ".health", store, ledger)
        blobs, pins = BlobRecords(ledger), Pins(ledger)
        proofs = Proofs(store, blobs)
        reservations = Reservations(store, ledger, blobs, proofs, limits)
        eviction = Eviction(store, ledger, blobs, pins, reservations, in_use, counters.store.evicted)
        return cls(
            data_dir,
            store,
            ledger,
            blobs,
            pins,
            proofs,
            reservations,
            eviction,
            Room(store, reservations, eviction, threads),
            Reconciliation(store, blobs, reservations),
            UsageReader(store, blobs, pins, reservations),
            health,
            threads,
            counters,
        )

    def room_in(self, store: PruneStore) -> Room:
        """Return the room in another store, by these records: they are a copy of those of that store."""
        proofs, limits = Proofs(store, self.blobs), self.reservations.limits
        reservations = Reservations(store, self.ledger, self.blobs, proofs, limits)
        in_use = self.eviction.documents_in_use
        eviction = Eviction(store, self.ledger, self.blobs, self.pins, reservations, in_use)
        return Room(store, reservations, eviction, self.threads)


def open_store(data_dir: Path) -> PruneStore:
    """Open the blobs of a data directory, made if need be. Blocks; raises OSError."""
    store = LocalStore(data_dir)
    recognise_filesystem(data_dir)
    return store


def open_store_to_read(data_dir: Path) -> ReadStore:
    """Open the blobs of a data directory for a process that only reads. Blocks."""
    return LocalReader(data_dir)


def open_store_to_foresee(data_dir: Path) -> PruneStore:
    """Open the blobs of a data directory to find out what room for others would take. Blocks."""
    return UntouchedStore(data_dir)


def listings_folder(data_dir: Path) -> Path:
    """Return where files are kept that follow from the lists in the store."""
    return data_dir / "listings"

"""What the whole cache stands on: the store, its ledger, threads for both, and counters."""

from dataclasses import dataclass
from pathlib import Path

from proxy.counting.counters import Counters
from proxy.store.ledger import Ledger
from proxy.store.local.reader import LocalReader
from proxy.store.local.store import LocalStore
from proxy.store.proofs import Proofs
from proxy.store.protocols import PruneStore, ReadStore
from proxy.store.room import Room
from proxy.system.threads import Threads


@dataclass(frozen=True, slots=True)
class Storage:
    """The parts that block, and where to run them."""

    data_dir: Path
    """Where this machine keeps what is no blob, such as the ledger."""
    store: PruneStore
    ledger: Ledger
    room: Room
    proofs: Proofs
    threads: Threads
    counters: Counters


def open_store(data_dir: Path) -> PruneStore:
    """Open the blobs of a data directory, made if need be. Blocks; raises OSError."""
    return LocalStore(data_dir)


def open_store_to_read(data_dir: Path) -> ReadStore:
    """Open the blobs of a data directory for a process that only reads. Blocks."""
    return LocalReader(data_dir)


def listings_folder(data_dir: Path) -> Path:
    """Return where files are kept that follow from the lists in the store."""
    return data_dir / "listings"

"""What the whole cache stands on: the store, its ledger, threads for both, and counters."""

from dataclasses import dataclass

from proxy.cache.reading import Reading
from proxy.cache.threads import Threads
from proxy.counting.counters import Counters
from proxy.store.ledger import Ledger
from proxy.store.local import LocalStore
from proxy.store.proofs import Proofs
from proxy.store.room import Room


@dataclass(frozen=True, slots=True)
class Storage:
    """The parts that block, and where to run them."""

    store: LocalStore
    ledger: Ledger
    room: Room
    reading: Reading
    proofs: Proofs
    threads: Threads
    counters: Counters

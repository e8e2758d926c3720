"""What the whole cache stands on: the store, its ledger, threads for both, and counters."""

from dataclasses import dataclass

from proxy.counting.counters import Counters
from proxy.store.ledger import Ledger
from proxy.store.local import LocalStore
from proxy.store.proofs import Proofs
from proxy.store.room import Room
from proxy.system.threads import Threads


@dataclass(frozen=True, slots=True)
class Storage:
    """The parts that block, and where to run them."""

    store: LocalStore
    ledger: Ledger
    room: Room
    proofs: Proofs
    threads: Threads
    counters: Counters

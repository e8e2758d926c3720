"""Whether the store takes what is written to it: tried out, as a fill and its bookkeeping would do it."""

from proxy.store.files import StoreFault
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.protocols import WriteStore


def find_faults(store: WriteStore, ledger: Ledger) -> list[str]:
    """Return in words what cannot be written, nothing when all can. Blocks for as long as the disk does."""
    faults = []
    try:
        store.try_out()
    except OSError as error:
        faults.append(str(StoreFault.of("blobs cannot be stored", error)))
    try:
        ledger.try_out()
    except LedgerUnavailable as error:
        faults.append(str(error))
    return faults

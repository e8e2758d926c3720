"""Bringing the ledger in line with the disk after a crash, and removing what nobody goes on with."""

import logging

from proxy.store.blob_records import BlobRecords
from proxy.store.protocols import PruneStore
from proxy.store.reservations import Reservations

log = logging.getLogger(__name__)

_IDLE_PARTIAL_S = 7 * 24 * 3600.0


class Reconciliation:
    """Compares a store with what the ledger says of it. All methods block."""

    def __init__(self, store: PruneStore, blobs: BlobRecords, reservations: Reservations) -> None:
        self._store = store
        self._blobs = blobs
        self._reservations = reservations

    def reconcile(self) -> None:
        """Bring the ledger in line with the disk.

        Blobs without a row get one, rows without a blob go, and so does
        whatever `tidy` removes.
        """
        self._reservations.release_dead()
        added, removed = self._blobs.reconcile(self._store.scan(), self._store.has)
        self.tidy()
        partials = sum(1 for _ in self._store.partial_digests())
        log.info("store.reconciled added=%d removed=%d partials=%d", added, removed, partials)

    def tidy(self) -> None:
        """Remove partial files that nobody went on with for a week, reservations without one, dead drafts."""
        self._store.remove_idle_partials(_IDLE_PARTIAL_S)
        self._reservations.give_back_all_without_file()
        self._store.remove_dead_drafts()

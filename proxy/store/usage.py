"""How full the store is: for people and for monitoring. Only reads. All functions block."""

import contextlib
from typing import NamedTuple

from proxy.store.blob_records import BlobRecords
from proxy.store.pins import Pins
from proxy.store.protocols import PruneStore
from proxy.store.reservations import Reservations


class StoreUsage(NamedTuple):
    """What the store holds, and what it may hold."""

    blobs: int
    bytes: int
    pinned_blobs: int
    pinned_bytes: int
    pins: dict[str, dict[str, int]]
    """Blobs and bytes that each named pin keeps, and blobs that it will keep once they are here."""
    reserved_bytes: int
    """For blobs that are arriving, or that will go on some time."""
    free_bytes: int
    limit_bytes: int | None
    min_free_bytes: int
    quarantined: int
    """Damaged files that were set aside for somebody to examine."""


class UsageReader:
    """Reads how full one store is."""

    def __init__(self, store: PruneStore, blobs: BlobRecords, pins: Pins, reservations: Reservations) -> None:
        self._store = store
        self._blobs = blobs
        self._pins = pins
        self._reservations = reservations

    def read(self) -> StoreUsage:
        """Return what the store holds and may hold. Raises LedgerUnavailable."""
        names = self._pins.names()
        sizes = self._blobs.sizes(names)
        pins: dict[str, dict[str, int]] = {}
        for digest, its_pins in names.items():
            for name in its_pins:
                pin = pins.setdefault(name, {"blobs": 0, "bytes": 0, "awaited_blobs": 0})
                pin["blobs"] += digest in sizes
                pin["bytes"] += sizes.get(digest, 0)
                pin["awaited_blobs"] += digest not in sizes
        return self._on_disk()._replace(
            blobs=self._blobs.count(),
            bytes=self._blobs.total_bytes(),
            pinned_blobs=len(sizes),
            pinned_bytes=sum(sizes.values()),
            pins=pins,
            reserved_bytes=self._reservations.total_bytes(),
        )

    def read_from_disk(self) -> StoreUsage:
        """Return what the store holds without asking the ledger, which knows of pins and reservations."""
        sizes: list[int] = []
        with contextlib.suppress(OSError):  # A folder that this user may not list.
            sizes.extend(found.size_bytes for found in self._store.scan())
        return self._on_disk()._replace(blobs=len(sizes), bytes=sum(sizes))

    def _on_disk(self) -> StoreUsage:
        limits = self._reservations.limits
        return StoreUsage(
            blobs=0,
            bytes=0,
            pinned_blobs=0,
            pinned_bytes=0,
            pins={},
            reserved_bytes=0,
            free_bytes=self._store.free_bytes(),
            limit_bytes=limits.limit_bytes,
            min_free_bytes=limits.min_free_bytes,
            quarantined=self._store.set_aside_count(),
        )

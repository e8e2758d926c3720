"""Space that is set aside for blobs as they arrive, counted alike by all processes.

    reserved/<digest>   how many bytes are set aside: for the whole blob, or for its beginning
    filling/<digest>    whose bytes are arriving: [what people call it, its size, how much of it
                        had arrived before, since when, the process]

A reservation lasts as long as the partial file does. One that cannot be read counts as
what has arrived. All methods block, and raise LedgerUnavailable.
"""

from collections.abc import Collection, Container, Mapping
from typing import NamedTuple

from proxy.digest import Digest, is_digest
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import IdlePartial
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.processes import Process
from proxy.store.proofs import Proofs
from proxy.store.protocols import PruneStore
from proxy.store.records import Kind, of_blobs
from proxy.store.schema import Count, Moment, Row, Schema, Unreadable

_SHORTEST_RATE_S = 0.1


class _Filling(Row, frozen=True):
    label: str
    size_bytes: Count
    before_bytes: Count
    began_at: Moment
    process: Process


_RESERVED = Kind("reserved/", Schema(Count))
_FILLING = Kind("filling/", Schema(_Filling))


class Arriving(NamedTuple):
    """A blob whose bytes are arriving."""

    digest: Digest
    label: str
    size_bytes: int
    arrived_bytes: int
    rate_bytes_s: float

    @property
    def remaining_s(self) -> float | None:
        """Seconds until it is here at this rate; None while nothing moves."""
        return (self.size_bytes - self.arrived_bytes) / self.rate_bytes_s if self.rate_bytes_s else None


class Reservations:
    """What is set aside in one store, and what is free besides."""

    def __init__(
        self, store: PruneStore, ledger: Ledger, blobs: BlobRecords, proofs: Proofs, limits: StoreLimits
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._blobs = blobs
        self._proofs = proofs
        self._clock = ledger.clock
        self.limits = limits

    def __repr__(self) -> str:
        return f"<Reservations of {self.total_bytes()} bytes within {self.limits}>"

    def take(self, digest: Digest, size_bytes: int, label: str = "", before_bytes: int = 0) -> int:
        """Set space aside if there is any; return how many bytes must go first, zero or less for none.

        What is reserved for the same digest already counts. `label` names the blob to
        people; `before_bytes` of it arrived earlier.
        """
        with self._ledger.transaction():
            reserved = self._all()
            more_bytes = size_bytes - reserved.get(digest, 0)
            missing = self._missing(more_bytes, reserved) if more_bytes > 0 else 0
            if missing <= 0:
                filling = _Filling(label, size_bytes, before_bytes, self._clock(), Process.own())
                found = _FILLING.entry(filling, digest)
                if more_bytes > 0:
                    found |= _RESERVED.entry(size_bytes, digest)
                self._ledger.write_all(found)
        return missing

    def missing_bytes(self, digest: Digest, size_bytes: int) -> int:
        """Return how many bytes must go before a blob fits; zero or less means that it does."""
        reserved = self._all()
        more_bytes = size_bytes - reserved.get(digest, 0)
        return self._missing(more_bytes, reserved) if more_bytes > 0 else 0

    def missing_for_all(self, needed_bytes: int, wanted: Collection[Digest] = ()) -> int:
        """Return how many bytes must go before as many fit as these blobs still need."""
        # What is set aside for them already need not be found again.
        reserved = self._all()
        outstanding = sum(self._outstanding(reserved, wanted).values())
        return self._missing(max(0, needed_bytes - outstanding), reserved)

    def over_limit_bytes(self) -> int:
        """Return by how much all that is here or set aside exceeds the limit; zero or less within it."""
        limit_bytes = self.limits.limit_bytes
        return 0 if limit_bytes is None else self._blobs.total_bytes() + self.total_bytes() - limit_bytes

    def settle(self, digest: Digest, size_bytes: int) -> None:
        """Turn a reservation into a blob, after it was proved and committed."""
        self._blobs.add(digest, size_bytes, self._proofs.of_now(digest))
        self._forget(digest)

    def shrink(self, digest: Digest, size_bytes: int) -> None:
        """Reserve no more than what has arrived, while nobody fetches the rest."""
        with self._ledger.transaction():
            _RESERVED.write(self._ledger, size_bytes, digest)
            _FILLING.forget(self._ledger, digest)

    def give_back(self, digest: Digest) -> None:
        """Drop a reservation whose partial file is gone; what has become a blob meanwhile gets its row.

        Whoever committed that may have died before it could, and without a reservation nobody looks for it.
        """
        size_bytes = self._store.size_bytes(digest)
        if size_bytes is not None:
            self._blobs.add(digest, size_bytes)
        self._forget(digest)

    def give_back_without_file(self, digest: Digest) -> None:
        """Drop a reservation unless a partial file is there: somebody may have begun it anew.

        Whoever reserves has made the file before, and waits for this transaction to reserve.
        """
        with self._ledger.transaction():
            if not is_digest(digest):
                self._forget(digest)
            elif self._store.partial_status(digest) is None:
                self.give_back(digest)

    def give_back_all_without_file(self) -> None:
        """Drop all reservations whose partial files are gone, readable or not."""
        for name in _RESERVED.names(self._ledger):
            self.give_back_without_file(Digest(name))

    def release_dead(self) -> int:
        """Mend what processes that died while they filled have left; return how many bytes that set free.

        A blob that was committed and not recorded gets its row, even if its process lives and
        could not write it; a partial file keeps no more room than it takes.
        """
        freed_bytes = 0
        for digest, filling in self._fillings().items():
            is_committed = self._store.has(digest) and self._store.partial_status(digest) is None
            if filling.process.is_alive and not is_committed:
                continue
            with self._ledger.transaction():
                if _FILLING.read(self._ledger, digest) == filling:  # Nobody has gone on with it meanwhile.
                    freed_bytes += self._release(digest)
        return freed_bytes

    def _release(self, digest: Digest) -> int:
        reserved_bytes = self._all().get(digest, 0)
        arrived_bytes = self._arrived_bytes(digest)
        if arrived_bytes:
            self.shrink(digest, arrived_bytes)
            return max(0, reserved_bytes - arrived_bytes)
        is_blob = self._store.has(digest)
        self.give_back(digest)
        return 0 if is_blob else reserved_bytes

    def _forget(self, digest: Digest) -> None:
        self._ledger.forget(_RESERVED.key(digest), _FILLING.key(digest))

    def filled_by(self, digest: Digest) -> int | None:
        """Return the id of the process by which a blob's bytes arrive, if that is known."""
        filling = _FILLING.read(self._ledger, digest)
        return filling.process.pid if isinstance(filling, _Filling) else None

    def arriving(self) -> list[Arriving]:
        """Return the blobs whose bytes are arriving now, in any process."""
        now = self._clock()
        found = []
        for digest, filling in self._fillings().items():
            if filling.process.is_alive:
                arrived_bytes = self._arrived_bytes(digest)
                since_s = max(now - filling.began_at, _SHORTEST_RATE_S)
                rate = max(0.0, (arrived_bytes - filling.before_bytes) / since_s)
                found.append(Arriving(digest, filling.label, filling.size_bytes, arrived_bytes, rate))
        return found

    def idle_partials(self) -> list[IdlePartial]:
        """Return the partial files that nobody goes on with."""
        fillings = self._fillings()
        found = []
        for digest, reserved_bytes in self._all().items():
            filling, partial = fillings.get(digest), self._store.partial_status(digest)
            if partial is not None and not (filling and filling.process.is_alive):
                found.append(IdlePartial(digest, reserved_bytes, min(partial.written_at, self._clock())))
        return found

    def total_bytes(self) -> int:
        """Return how much is set aside in all."""
        return sum(self._all().values())

    def _fillings(self) -> dict[Digest, _Filling]:
        found = of_blobs(_FILLING.read_all(self._ledger))
        return {digest: one for digest, one in found.items() if not isinstance(one, Unreadable)}

    def _all(self) -> dict[Digest, int]:
        """Return how much is set aside for each blob."""
        found = of_blobs(_RESERVED.read_all(self._ledger))
        return {
            digest: self._arrived_bytes(digest) if isinstance(size_bytes, Unreadable) else size_bytes
            for digest, size_bytes in found.items()
        }

    def _missing(self, size_bytes: int, reserved: Mapping[Digest, int]) -> int:
        """Return how many bytes must go before `size_bytes` fit; zero or less means they do."""
        # As a rule all fits even if nothing of what is set aside had arrived: then nobody need look that up.
        reserved_bytes = sum(reserved.values())
        blob_bytes = self._blobs.total_bytes()  # Without a limit too: nothing is stored that has no row.
        at_most = self._lacking(size_bytes, reserved_bytes, blob_bytes + reserved_bytes)
        if at_most <= 0:
            return at_most
        # What has become a blob counts as one, not as a reservation too.
        settled, blob_bytes = self._blobs.sizes_and_total(reserved)
        reserved = {digest: size for digest, size in reserved.items() if digest not in settled}
        outstanding = sum(self._outstanding(reserved).values())
        return self._lacking(size_bytes, outstanding, blob_bytes + sum(reserved.values()))

    def _lacking(self, size_bytes: int, outstanding_bytes: int, used_bytes: int) -> int:
        """Return by how much a blob is too large for what is free, or within the limit."""
        free_bytes = self._store.free_bytes() - outstanding_bytes - self.limits.min_free_bytes
        missing = size_bytes - free_bytes
        if self.limits.limit_bytes is not None:
            missing = max(missing, used_bytes + size_bytes - self.limits.limit_bytes)
        return missing

    def _outstanding(
        self, reserved: Mapping[Digest, int], among: Container[Digest] | None = None
    ) -> dict[Digest, int]:
        """Return how many bytes are set aside for each blob and have not arrived."""
        return {
            digest: max(0, size_bytes - self._arrived_bytes(digest))
            for digest, size_bytes in reserved.items()
            if among is None or digest in among
        }

    def _arrived_bytes(self, digest: Digest) -> int:
        partial = self._store.partial_status(digest)
        return 0 if partial is None else partial.length_bytes

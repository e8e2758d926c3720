"""What the ledger knows of each blob: how large it is, when it was last used, and when it was hashed.

    blobs table, <digest>   [size in bytes, last use, when hashed, its file's change then]
                            of which the last two may be missing; times in Unix seconds
    blobs table, total      the sum of all sizes

A row that cannot be read hides no other; `reconcile` writes it anew from the disk.
All methods block, and raise LedgerUnavailable.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from proxy.digest import Digest, is_digest
from proxy.moments import lies_ahead
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger, translated
from proxy.store.schema import Count, Moment, Row, Schema, Unreadable

_TOTAL_KEY = "total"


class _BlobRow(Row, frozen=True):
    size_bytes: Count
    used_at: Moment
    hashed_at: Moment | None = None
    changed_ns: Count | None = None

    @property
    def proof(self) -> "Proof | None":
        if self.hashed_at is None or self.changed_ns is None:
            return None
        return Proof(self.hashed_at, self.changed_ns)


_ROW = Schema(_BlobRow)
_TOTAL: Schema[int] = Schema(Count)


@dataclass(frozen=True, slots=True)
class Proof:
    """When a blob was hashed, and which state of its file that was."""

    hashed_at: float
    """Unix seconds."""
    changed_ns: int
    """The file's status change time then: any later write or rename moves it."""


class BlobRecords:
    """The rows of the blobs of one ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.clock = ledger.clock

    def __repr__(self) -> str:
        return f"<BlobRecords of {self.count()} blobs, {self.total_bytes()} bytes, in {self._ledger!r}>"

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all changes of blobs inside happen, or none."""
        with translated(), self._ledger.blobs.transact():
            yield

    @translated()
    def add(self, digest: Digest, size_bytes: int, proof: Proof | None = None) -> None:
        """Record that a blob is in the store, and was hashed; adding it twice counts once."""
        table = self._ledger.blobs
        with self.transaction():
            found = table.pick([digest, _TOTAL_KEY])
            row = self._decode(digest, found[digest]) if digest in found else None
            if row is None:
                total_bytes = self._total(found.get(_TOTAL_KEY, 0)) + size_bytes
                table.write(_entry(digest, size_bytes, self.clock(), proof) | {_TOTAL_KEY: total_bytes})
            elif proof is not None:
                table.write(_entry(digest, row.size_bytes, row.used_at, proof))

    @translated()
    def forget(self, digest: Digest) -> bool:
        """Record that a blob is gone; say whether it was known."""
        with self.transaction():
            row = self._row(digest)
            if row is not None:
                self._ledger.blobs.remove([digest])
                self._write_total(self.total_bytes() - row.size_bytes)
        return row is not None

    @translated()
    def touch(self, used_at: dict[Digest, float]) -> None:
        """Record when blobs were last used, Unix seconds."""
        with self.transaction():
            for digest, when in used_at.items():
                row = self._row(digest)
                if row is not None:
                    self._write(digest, row.size_bytes, when, row.proof)

    @translated()
    def record_proof(self, digest: Digest, proof: Proof) -> None:
        """Record that a blob was hashed and found good."""
        with self.transaction():
            row = self._row(digest)
            if row is not None:
                self._write(digest, row.size_bytes, row.used_at, proof)

    @translated()
    def proof(self, digest: Digest) -> Proof | None:
        """Return when a blob was hashed last; None when that is not known."""
        row = self._row(digest)
        return None if row is None else row.proof

    @translated()
    def proofs(self) -> dict[Digest, float]:
        """Return when each blob was hashed last, Unix seconds, of those of which that is known."""
        now = self.clock()
        proofs = ((digest, row.proof) for digest, row in self._rows())
        return {
            digest: proof.hashed_at
            for digest, proof in proofs
            if proof is not None and not lies_ahead(proof.hashed_at, now)
        }

    @translated()
    def total_bytes(self) -> int:
        """Return the sum of all blob sizes."""
        return self._total(self._ledger.blobs.get(_TOTAL_KEY, 0))

    @translated()
    def count(self) -> int:
        """Return how many blobs there are."""
        table = self._ledger.blobs
        return len(table) - (_TOTAL_KEY in table)

    @translated()
    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the sizes of those of the blobs that are here, in bytes."""
        return self._sizes(self._ledger.blobs.pick([*digests]))

    @translated()
    def used_at(self, digests: Iterable[Digest]) -> dict[Digest, float]:
        """Return when those of the blobs that are here were used last, Unix seconds."""
        found = self._ledger.blobs.pick([*digests])
        rows = ((key, self._decode(key, value)) for key, value in found.items())
        return {Digest(key): row.used_at for key, row in rows if row is not None}

    @translated()
    def sizes_and_total(self, digests: Collection[Digest]) -> tuple[dict[Digest, int], int]:
        """Return the sizes of those of the blobs that are here and the sum of all sizes, of one moment."""
        found = self._ledger.blobs.pick([_TOTAL_KEY, *digests])
        total_bytes = self._total(found.pop(_TOTAL_KEY, 0))
        return self._sizes(found), total_bytes

    @translated()
    def usages(self) -> list[Usage]:
        """Return what is known of every blob."""
        now = self.clock()
        return [Usage(digest, row.size_bytes, min(row.used_at, now)) for digest, row in self._rows()]

    @translated()
    def mend_moments(self) -> int:
        """Rewrite what clocks that were ahead have written; return of how many blobs that was true.

        Their last use ages from now on, and their proof does not count.
        """
        now = self.clock()
        ahead = [
            digest
            for digest, row in self._rows()
            if lies_ahead(row.used_at, now) or lies_ahead(row.hashed_at or 0.0, now)
        ]
        with self.transaction():
            for digest in ahead:
                row = self._row(digest)
                if row is not None:
                    is_good = row.proof is not None and not lies_ahead(row.proof.hashed_at, now)
                    self._write(digest, row.size_bytes, min(row.used_at, now), row.proof if is_good else None)
        return len(ahead)

    @translated()
    def reconcile(
        self, found: Iterable[tuple[Digest, int, float]], is_there: Callable[[Digest], bool]
    ) -> tuple[int, int]:
        """Make the rows match the blobs found on disk: (digest, size, used_at) each.

        Other processes may add and remove blobs meanwhile: `is_there` looks
        again. Returns how many rows were added and how many removed.
        """
        before = {usage.digest for usage in self.usages()}
        on_disk = {digest: (size_bytes, used_at) for digest, size_bytes, used_at in found}
        with self.transaction():
            missing = [one for one in on_disk.keys() - before if self._row(one) is None]
            for key, value in self._ledger.blobs.rows():
                if key != _TOTAL_KEY and not (is_digest(key) and isinstance(_ROW.decode(value), _BlobRow)):
                    self._ledger.blobs.remove([key])
            surplus = [one for one in before - on_disk.keys() if not is_there(one)]
            for digest in missing:
                self._write(digest, *on_disk[digest])
            for digest in surplus:
                self._ledger.blobs.remove([digest])
            for digest in on_disk.keys() & before:
                size_bytes, row = on_disk[digest][0], self._row(digest)
                if row is not None and row.size_bytes != size_bytes:
                    self._write(digest, size_bytes, row.used_at, row.proof)
            total_bytes = sum(usage.size_bytes for usage in self.usages())
            if total_bytes != self._ledger.blobs.get(_TOTAL_KEY):
                self._write_total(total_bytes)
        return len(missing), len(surplus)

    def _rows(self) -> Iterator[tuple[Digest, _BlobRow]]:
        """Yield the rows of blobs that can be read."""
        for key, value in self._ledger.blobs.rows():
            if is_digest(key):  # A file of another name is no blob, and none of ours.
                row = self._decode(key, value)
                if row is not None:
                    yield Digest(key), row

    def _row(self, digest: Digest) -> _BlobRow | None:
        found = self._ledger.blobs.pick([digest])
        return self._decode(digest, found[digest]) if digest in found else None

    def _sizes(self, found: dict[str, Any]) -> dict[Digest, int]:
        rows = ((key, self._decode(key, value)) for key, value in found.items())
        return {Digest(key): row.size_bytes for key, row in rows if row is not None}

    def _decode(self, key: str, value: Any) -> _BlobRow | None:
        row = _ROW.decode(value)
        if isinstance(row, Unreadable):
            self._ledger.tell_unreadable(key, row.problem)
            return None
        return row

    def _total(self, value: Any) -> int:
        total_bytes = _TOTAL.decode(value)
        return 0 if isinstance(total_bytes, Unreadable) else total_bytes

    def _write(self, digest: Digest, size_bytes: int, used_at: float, proof: Proof | None = None) -> None:
        self._ledger.blobs.write(_entry(digest, size_bytes, used_at, proof))

    def _write_total(self, total_bytes: int) -> None:
        self._ledger.blobs.write({_TOTAL_KEY: total_bytes})


def _entry(digest: Digest, size_bytes: int, used_at: float, proof: Proof | None) -> dict[str, Any]:
    # A row without a proof ends before it: earlier releases take none that is null.
    of_proof = [] if proof is None else [proof.hashed_at, proof.changed_ns]
    return {digest: [size_bytes, used_at, *of_proof]}

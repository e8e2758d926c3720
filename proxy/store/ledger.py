"""What is known of blobs and names.

Two tables (SQLite in WAL mode, shared by processes):

    records   JSON values by key: generations, pins, failures, reservations, results of rules
    blobs     a row per blob: size, last use, last proof; and the sum of all sizes

Values are JSON text, never pickles: a ledger that somebody tampered with can
mislead, not execute. All methods block, so call them from a thread, and raise
LedgerUnavailable when SQLite fails. A ledger that cannot be opened when it is
made is opened as soon as that is possible.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.digest import Digest
from proxy.moments import lies_ahead
from proxy.store.evict import Usage
from proxy.store.files import StoreFault
from proxy.store.schema import Unreadable
from proxy.store.table import Table

log = logging.getLogger(__name__)

_TOTAL = "total"
_PIN = "pin/"
_HELD = "held/"
_PROBE = "probe"
_USED_ROW = 2
_PROVED_ROW = 4
_LARGEST = 2**63
_MOST_TOLD = 1000
"""Records that the log tells of: a table full of rubbish must not fill the log too."""
_OPENING_PAUSE_S = 1.0
"""After it could not be opened; those who ask meanwhile do not wait."""


class LedgerUnavailable(StoreFault):
    """SQLite cannot read or write the ledger now."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into ours. Also a decorator."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(f"the ledger cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class Proof:
    """When a blob was hashed, and which state of its file that was."""

    hashed_at: float
    """Unix seconds."""
    changed_ns: int
    """The file's status change time then: any later write or rename moves it."""


class Ledger:
    """Records by key, and what is known of every blob."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self._clock = clock
        self._tables: dict[str, Table] = {}
        self._opening = threading.Lock()
        self._not_before_s = 0.0
        self._problem = ""
        self._unreadable: set[str] = set()
        """Keys of records that the log has told of."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._records, self._blobs  # noqa: B018 - opens both

    @property
    def _records(self) -> Table:
        return self._table("records")

    @property
    def _blobs(self) -> Table:
        return self._table("blobs")

    def _table(self, name: str) -> Table:
        table = self._tables.get(name)
        return self._open(name) if table is None else table

    def _open(self, name: str) -> Table:
        with self._opening:
            if name not in self._tables:
                if time.monotonic() < self._not_before_s:
                    raise sqlite3.OperationalError(self._problem)
                try:
                    self._tables[name] = Table(self.directory / name)
                except (sqlite3.Error, OSError) as error:
                    self._not_before_s = time.monotonic() + _OPENING_PAUSE_S
                    self._problem = str(error)
                    raise
            return self._tables[name]

    @_translated()
    def close(self) -> None:
        """Let go of this thread's connections."""
        for table in self._tables.values():
            table.close()

    @_translated()
    def try_out(self) -> None:
        """Write to both tables what changes nothing. Raises LedgerUnavailable when that is not possible."""
        with self._records.transact():
            self._records.set(_PROBE, True)
            self._records.delete(_PROBE)
        with self._blobs.transact():
            self._blobs[_TOTAL] = self.total_bytes()

    # Records

    @_translated()
    def record(self, key: str) -> Any:
        """Return the JSON value of a record, None when there is none, or none that is JSON."""
        value = self._records.get(key)
        return None if isinstance(value, Unreadable) else value

    @_translated()
    def records_at(self, *keys: str) -> dict[str, Any]:
        """Return those of these records that there are, by key; `Unreadable` for what is no JSON."""
        return self._records.pick(keys)

    @_translated()
    def write(self, key: str, value: Any, *, expire_s: float | None = None) -> None:
        """Write a record that lasts, or lasts `expire_s`."""
        self._records.set(key, value, expire=expire_s)

    @_translated()
    def forget(self, key: str) -> None:
        """Forget a record, if there is one."""
        self._records.delete(key)

    @_translated()
    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`."""
        return [key for key, _ in self._records.rows(prefix)]

    @_translated()
    def records(self, prefix: str) -> dict[str, Any]:
        """Return the records whose keys begin with `prefix`, by key; `Unreadable` for what is no JSON."""
        return dict(self._records.rows(prefix))

    def tell_unreadable(self, key: str, problem: str) -> None:
        """Say in the log that a record cannot be read, once for each key."""
        if key not in self._unreadable and len(self._unreadable) < _MOST_TOLD:
            self._unreadable.add(key)
            log.warning("record.unreadable key=%.200s problem=%s", key, problem)

    @_translated()
    def forget_expired(self) -> None:
        """Remove expired records from the file; nobody sees them anyway."""
        self._records.forget_expired()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all record changes inside happen, or none."""
        with _translated(), self._records.transact():
            yield

    @contextlib.contextmanager
    def lasting_transaction(self) -> Iterator[None]:
        """Make all record changes inside happen, or none; once it has ended no power cut takes them back."""
        with self.transaction():
            self._records.let_last()
            yield

    # Pins: whoever was told of one relies on it.

    @_translated()
    def pin(self, digest: Digest, name: str) -> None:
        """Keep a blob from eviction for as long as the pin of that name stays."""
        with self.lasting_transaction():
            names = set(_names(self.record(_PIN + digest)))
            self.write(_PIN + digest, sorted(names | {name}))

    @_translated()
    def unpin(self, digest: Digest, name: str) -> None:
        """Take one named pin back."""
        with self.lasting_transaction():
            names = set(_names(self.record(_PIN + digest))) - {name}
            if names:
                self.write(_PIN + digest, sorted(names))
            else:
                self.forget(_PIN + digest)

    @_translated()
    def forget_pins(self, digest: Digest) -> None:
        """Take all pins of a blob back."""
        with self.lasting_transaction():
            self.forget(_PIN + digest)
            self.forget(_HELD + digest)

    @_translated()
    def pin_all(self, name: str, digests: Iterable[Digest]) -> None:
        """Keep all these blobs too by a named pin."""
        with self.lasting_transaction():
            for digest in digests:
                self.pin(digest, name)

    @_translated()
    def repin(self, name: str, digests: Collection[Digest], hold_s: float = 0.0) -> set[Digest]:
        """Make a named pin keep exactly these blobs; return those that it lets go.

        What is let go stays for `hold_s` more: clients may still work from a list that names it.
        """
        with self.lasting_transaction():
            released = self.pinned_by(name) - set(digests)
            for digest in released:
                self.unpin(digest, name)
                if hold_s > 0:
                    self.write(_HELD + digest, True, expire_s=hold_s)
            for digest in digests:
                self.pin(digest, name)
        return released

    @_translated()
    def pinned_by(self, name: str) -> set[Digest]:
        """Return the digests that a named pin keeps."""
        return {digest for digest, names in self.pins().items() if name in names}

    @_translated()
    def pins(self, beginning: str = "") -> dict[Digest, list[str]]:
        """Return the names of the pins of every pinned blob, or of those whose digests begin so."""
        found = ((key, _names(value)) for key, value in self._records.rows(_PIN + beginning))
        return {Digest(key.removeprefix(_PIN)): names for key, names in found if names}

    @_translated()
    def protected(self) -> set[Digest]:
        """Return the digests that some pin keeps, or that were let go too short a while ago."""
        held = {Digest(key.removeprefix(_HELD)) for key, _ in self._records.rows(_HELD)}
        return held | self.pins().keys()

    @_translated()
    def is_protected(self, digest: Digest) -> bool:
        """Whether a digest is one of those that `protected` returns."""
        found = self._records.pick([_PIN + digest, _HELD + digest])
        return _HELD + digest in found or bool(_names(found.get(_PIN + digest)))

    # Blobs

    @contextlib.contextmanager
    def blob_transaction(self) -> Iterator[None]:
        """Make all changes of blobs inside happen, or none."""
        with _translated(), self._blobs.transact():
            yield

    @_translated()
    def add_blob(self, digest: Digest, size_bytes: int) -> None:
        """Note that a blob is in the store; adding it twice counts once."""
        with self._blobs.transact():
            if self._row(digest) is None:
                self._blobs[digest] = [size_bytes, self._clock()]
                self._blobs[_TOTAL] = self.total_bytes() + size_bytes

    @_translated()
    def note_proof(self, digest: Digest, proof: Proof) -> None:
        """Note that a blob was hashed and found good."""
        with self._blobs.transact():
            row = self._row(digest)
            if row is not None:
                self._blobs[digest] = [*row[:2], proof.hashed_at, proof.changed_ns]

    @_translated()
    def proof(self, digest: Digest) -> Proof | None:
        """Return when a blob was hashed last; None when that is not known."""
        row = self._row(digest)
        return None if row is None or len(row) < _PROVED_ROW else Proof(*row[2:_PROVED_ROW])

    @_translated()
    def forget_blob(self, digest: Digest) -> bool:
        """Note that a blob is gone; say whether it was known."""
        with self._blobs.transact():
            row = self._row(digest)
            if row is not None:
                del self._blobs[digest]
                self._blobs[_TOTAL] = self.total_bytes() - row[0]
        return row is not None

    @_translated()
    def proofs(self) -> dict[Digest, float]:
        """Return when each blob was hashed last, Unix seconds, of those of which that is known."""
        now = self._clock()
        rows = ((key, row) for key, row in self._blob_rows() if len(row) >= _PROVED_ROW)
        return {Digest(key): row[2] for key, row in rows if not lies_ahead(row[2], now)}

    @_translated()
    def touch(self, used_at: dict[Digest, float]) -> None:
        """Note when blobs were last used, Unix seconds."""
        with self._blobs.transact():
            for digest, when in used_at.items():
                row = self._row(digest)
                if row is not None:
                    self._blobs[digest] = [row[0], when, *row[2:]]

    @_translated()
    def total_bytes(self) -> int:
        """Return the sum of all blob sizes."""
        total_bytes = self._blobs.get(_TOTAL, 0)
        return total_bytes if is_count(total_bytes) else 0

    @_translated()
    def blob_count(self) -> int:
        """Return how many blobs there are."""
        return len(self._blobs) - (_TOTAL in self._blobs)

    @_translated()
    def sizes(self, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Return the sizes of those of the blobs that are here, in bytes."""
        rows = self._blobs.pick([*digests])
        return {Digest(key): row[0] for key, row in rows.items() if _is_row(row)}

    @_translated()
    def sizes_and_total(self, digests: Collection[Digest]) -> tuple[dict[Digest, int], int]:
        """Return the sizes of those of the blobs that are here and the sum of all sizes, of one moment."""
        rows = self._blobs.pick([_TOTAL, *digests])
        total_bytes = rows.pop(_TOTAL, 0)
        sizes = {Digest(key): row[0] for key, row in rows.items() if _is_row(row)}
        return sizes, total_bytes if is_count(total_bytes) else 0

    @_translated()
    def usages(self) -> list[Usage]:
        """Return what is known of every blob."""
        now = self._clock()
        return [Usage(Digest(key), row[0], min(row[1], now)) for key, row in self._blob_rows()]

    @_translated()
    def mend_moments(self) -> int:
        """Rewrite what clocks that were ahead have written; return of how many blobs.

        Their last use ages from now on, and their proof does not count.
        """
        now = self._clock()
        ahead = [key for key, row in self._blob_rows() if any(lies_ahead(one, now) for one in row[1:3])]
        with self._blobs.transact():
            for key in ahead:
                row = self._row(Digest(key))
                if row is not None:
                    is_proof_ahead = len(row) >= _PROVED_ROW and lies_ahead(row[2], now)
                    self._blobs[key] = [row[0], min(row[1], now), *(() if is_proof_ahead else row[2:])]
        return len(ahead)

    def _blob_rows(self) -> Iterator[tuple[str, list[Any]]]:
        """Yield the rows of blobs that have the shape of one; reconciling mends the others."""
        for key, row in self._blobs.rows():
            if key != _TOTAL and _is_row(row):
                yield key, row

    def _row(self, digest: Digest) -> list[Any] | None:
        row = self._blobs.get(digest)
        return row if _is_row(row) else None

    @_translated()
    def reconcile(
        self, found: Iterable[tuple[Digest, int, float]], is_there: Callable[[Digest], bool]
    ) -> tuple[int, int]:
        """Make the rows match the blobs found on disk: (digest, size, used_at) each.

        Other processes may add and remove blobs meanwhile: `is_there` looks
        again. Returns how many rows were added and how many removed.
        """
        before = {usage.digest: usage.size_bytes for usage in self.usages()}
        on_disk = {digest: (size_bytes, used_at) for digest, size_bytes, used_at in found}
        with self._blobs.transact():
            missing = [one for one in on_disk.keys() - before.keys() if self._row(one) is None]
            for key, row in self._blobs.rows():
                if key != _TOTAL and not _is_row(row):
                    self._blobs.delete(key)
            surplus = [one for one in before.keys() - on_disk.keys() if not is_there(one)]
            for digest in missing:
                self._blobs[digest] = list(on_disk[digest])
            for digest in surplus:
                self._blobs.pop(digest)
            for digest in on_disk.keys() & before.keys():
                size_bytes, row = on_disk[digest][0], self._row(digest)
                if row is not None and row[0] != size_bytes:
                    self._blobs[digest] = [size_bytes, *row[1:]]
            total_bytes = sum(usage.size_bytes for usage in self.usages())
            if total_bytes != self._blobs.get(_TOTAL):
                self._blobs[_TOTAL] = total_bytes
        return len(missing), len(surplus)


def _names(value: object) -> list[str]:
    """Return the names of a pin; none for what is no list of names."""
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _is_row(row: object) -> bool:
    """Whether a value has the shape of a blob's row: size, last use, and perhaps both parts of a proof."""
    if not isinstance(row, list) or len(row) < _USED_ROW or not is_count(row[0]) or not _is_moment(row[1]):
        return False
    return len(row) < _PROVED_ROW or (_is_moment(row[2]) and is_count(row[3]))


def is_count(value: object) -> bool:
    """Whether a value from the ledger can be a number of bytes."""
    return type(value) is int and 0 <= value < _LARGEST


def _is_moment(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST

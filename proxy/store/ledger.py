"""What is known of blobs and names: the file that all processes read and write together.

Two tables (SQLite in WAL mode):

    records   JSON values by key: generations, pins, failures, reservations, results of rules
    blobs     a row per blob; see blob_records.py

Values are JSON text, never pickles: a ledger that somebody tampered with can
mislead, not execute. All methods block, so call them from a thread, and raise
LedgerUnavailable when SQLite fails. A ledger that cannot be opened when it is
made is opened as soon as that is possible.

Each thread has connections of its own, which are closed together.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from proxy.store.files import StoreFault
from proxy.store.table import DATABASE, Table
from proxy.system.durable import make_folder

log = logging.getLogger(__name__)

_PROBE = "probe"
_MOST_TOLD = 1000
"""Records that the log tells of: a table full of rubbish must not fill the log too."""
_OPENING_PAUSE_S = 1.0
"""After it could not be opened; those who ask meanwhile do not wait."""


class LedgerUnavailable(StoreFault):
    """SQLite cannot read or write the ledger now."""


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn SQLite's errors into ours. Also a decorator."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise LedgerUnavailable(f"the ledger cannot be used: {error}") from error


@translated()
def copy_ledger(directory: Path, copy: Path) -> None:
    """Copy a ledger that others may be writing. Blocks; raises LedgerUnavailable."""
    for database in directory.glob(f"*/{DATABASE}"):
        target = copy / database.relative_to(directory)
        make_folder(target.parent)
        with (
            contextlib.closing(
                sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True)
            ) as source,
            contextlib.closing(sqlite3.connect(target)) as copied,
        ):
            source.backup(copied)


class Ledger:
    """Records by key, and the table of the blobs' rows."""

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.directory = directory
        self.clock = clock
        """Unix seconds, for those who record when something happened."""
        self._tables: dict[str, Table] = {}
        self._opening = threading.Lock()
        self._not_before_s = 0.0
        self._problem = ""
        self._unreadable: set[str] = set()
        """Keys of records that the log has told of."""
        with contextlib.suppress(sqlite3.Error, OSError):
            self._records, self.blobs  # noqa: B018 - opens both

    @property
    def _records(self) -> Table:
        return self._table("records")

    @property
    def blobs(self) -> Table:
        """The table that blob_records.py reads and writes. Raises what SQLite raises."""
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

    @translated()
    def close(self) -> None:
        """Let go of all connections, of whichever threads: none of them may be at work with the ledger."""
        for table in self._tables.values():
            table.close_all()

    def __repr__(self) -> str:
        tables = ", ".join(map(repr, self._tables.values())) or f"not opened: {self._problem}"
        return f"<Ledger in {self.directory}: {tables}>"

    @translated()
    def try_out(self) -> None:
        """Write to both tables what changes nothing. Raises LedgerUnavailable when that is not possible."""
        for table in (self._records, self.blobs):
            with table.transact():
                table.write({_PROBE: True})
                table.remove([_PROBE])

    @translated()
    def records_at(self, *keys: str) -> dict[str, Any]:
        """Return those of these records that there are, by key; `Unreadable` for what is no JSON."""
        return self._records.pick(keys)

    @translated()
    def write(self, key: str, value: Any, *, expire_s: float | None = None) -> None:
        """Write a record that lasts, or lasts `expire_s`."""
        self._records.write({key: value}, expire_s)

    @translated()
    def write_all(self, records: Mapping[str, Any]) -> None:
        """Write records that last, by key; all of them, or none."""
        self._records.write(records)

    @translated()
    def forget(self, *keys: str) -> None:
        """Forget those of the records that there are; all of them, or none."""
        self._records.remove(keys)

    @translated()
    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with `prefix`."""
        return [key for key, _ in self._records.rows(prefix)]

    @translated()
    def records(self, prefix: str) -> dict[str, Any]:
        """Return the records whose keys begin with `prefix`, by key; `Unreadable` for what is no JSON."""
        return dict(self._records.rows(prefix))

    def tell_unreadable(self, key: str, problem: str) -> None:
        """Say in the log that a record cannot be read, once for each key."""
        if key not in self._unreadable and len(self._unreadable) < _MOST_TOLD:
            self._unreadable.add(key)
            log.warning("record.unreadable key=%.200s problem=%s", key, problem)

    @translated()
    def forget_expired(self) -> None:
        """Remove expired records from the file; nobody sees them anyway."""
        self._records.forget_expired()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all record changes inside happen, or none."""
        with translated(), self._records.transact():
            yield

    @contextlib.contextmanager
    def lasting_transaction(self) -> Iterator[None]:
        """Make all record changes inside happen, or none; once it has ended no power cut takes them back."""
        with self.transaction():
            self._records.let_last()
            yield

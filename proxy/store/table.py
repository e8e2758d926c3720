"""One table of the ledger: a diskcache that waits for nothing without end.

diskcache by itself tries again for ever whatever keeps it from writing: a lock
that somebody holds, a disk that is full or read-only. Here a transaction has
some patience for a lock and none for anything else. Who has waited in vain
waits no more until a transaction has succeeded, for clients stand behind it.
A database whose file is replaced or lost while it is open is opened anew. A
power cut may take the last transactions, but none that was told to last.
"""

import contextlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import diskcache

from proxy.moments import SLACK_S
from proxy.store.files import StoreFault
from proxy.store.schema import Unreadable, parse
from proxy.system.durable import make_folder, sync_directory, sync_file

log = logging.getLogger(__name__)

DATABASE = "cache.db"

PATIENCE_S = 4.0
"""For a lock that another process holds: MAAS gives up after 10 s without a byte."""
_LEFT_PATIENCE_S = 0.1
"""Once that was in vain."""
_LOCKED_PAUSE_S = 0.01
_KEYS_AT_ONCE = 500
_ROWS_AT_ONCE = 100
"""SQLite may take as few as 999 values with one statement, of which five make a row."""
_AFTER_ALL_TEXT = "\U0010ffff"
_LASTS = "(expire_time IS NULL OR (expire_time > ? AND store_time <= ?))"
"""Of a row that has not expired. What a clock that was ahead has written would last too long."""
_ROW = f"(?, 1, ?, ?, ?, 0, NULL, 0, {diskcache.core.MODE_RAW}, NULL, ?)"
_UPSERT = (
    "INSERT INTO Cache (key, raw, store_time, expire_time, access_time, access_count, tag, size,"
    " mode, filename, value) VALUES {} ON CONFLICT (key, raw) DO UPDATE SET"
    " store_time = excluded.store_time, expire_time = excluded.expire_time,"
    " access_time = excluded.access_time, access_count = 0, tag = NULL, size = 0,"
    " mode = excluded.mode, filename = NULL, value = excluded.value"
)
"""What diskcache does with a SELECT and then an INSERT or UPDATE for each row."""
_INDEX = "CREATE UNIQUE INDEX IF NOT EXISTS Cache_key_raw ON Cache(key, raw)"
"""As diskcache makes it. What tools salvage of a damaged database may lack it."""
_OLDER_ROWS = (
    "DELETE FROM Cache WHERE rowid NOT IN"
    " (SELECT rowid FROM (SELECT rowid, max(store_time) FROM Cache GROUP BY key, raw))"
)
"""Of rows of the same key all but the newest (SQLite takes rowid from the row with the maximum)."""
_SETTINGS = {
    # diskcache drops entries on its own unless told not to.
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    # Values stay in the database, none in files beside it.
    "disk_min_file_size": 2**31 - 1,
    "sqlite_auto_vacuum": 0,
    # diskcache would take these from the file. Another mode of the journal waits until all have left it.
    "sqlite_cache_size": 2**13,
    "sqlite_journal_mode": "wal",
    "sqlite_mmap_size": 2**26,
    "sqlite_synchronous": 1,
}


class LedgerDamaged(StoreFault):
    """A key of the ledger that is not the text this program writes."""


class _TextDisk(diskcache.Disk):  # type: ignore[misc]  # diskcache has no types
    """Keeps keys and values as text; refuses to unpickle whatever it may meet."""

    def put(self, key: Any) -> tuple[str, bool]:
        return str(key), True

    def get(self, key: Any, raw: bool) -> str:
        if not raw or not isinstance(key, str):
            raise LedgerDamaged("a key of the ledger is not text")
        return key

    def store(self, value: Any, read: bool, key: Any = None) -> tuple[int, int, None, str]:  # noqa: ARG002
        return 0, diskcache.core.MODE_RAW, None, json.dumps(value, separators=(",", ":"))

    def fetch(self, mode: int, filename: str | None, value: Any, read: bool) -> Any:  # noqa: ARG002
        if mode != diskcache.core.MODE_RAW or not isinstance(value, str):
            return Unreadable("it is not text")
        return parse(value)


class Table(diskcache.Cache):  # type: ignore[misc]  # diskcache has no types
    """JSON text by key, shared by processes; may be read by the beginning of keys, with one query.

    The value of a row that is no JSON text is `Unreadable`. Its methods raise sqlite3.Error or OSError.
    """

    def __init__(self, directory: Path) -> None:
        self._is_made = False
        self._is_stuck = False
        """Whether the last transaction could not begin."""
        self._began_s = time.monotonic()
        self._connections: set[sqlite3.Connection] = set()
        """Of all threads."""
        self._connecting = threading.Lock()
        self._database = str(directory / DATABASE)
        make_folder(directory)
        try:
            try:
                self._make(directory)
            except sqlite3.IntegrityError:
                self._make_unique(self._sql_retry)
                self._make(directory)
        except BaseException:
            self.close_all()
            raise
        self._is_made = True

    def _make(self, directory: Path) -> None:
        """Make what the database lacks. Raises IntegrityError when rows are there twice."""
        super().__init__(str(directory), timeout=PATIENCE_S, disk=_TextDisk, **_SETTINGS)

    def __repr__(self) -> str:
        state = "stuck" if self._is_stuck else "usable"
        return f"<Table {self._database}: {state}, {len(self._connections)} connections>"

    def __len__(self) -> int:
        """Return how many rows there are; diskcache trusts in what its triggers have counted."""
        ((count,),) = self._sql("SELECT count(*) FROM Cache").fetchall()
        return int(count)

    @property
    def _con(self) -> sqlite3.Connection:
        """This thread's connection to the database that is there now, which is made if there is none."""
        if self._is_made and not self._is_within:
            inode = _inode(self._database)
            if inode is None:
                Table(Path(self._directory)).close_all()
                inode = _inode(self._database)
            if inode != getattr(self._local, "inode", None):
                self.close()
        connection = getattr(self._local, "con", None)
        if connection is None or connection not in self._connections:
            connection = self._connect()
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101 - diskcache has no types
        return connection

    def _connect(self) -> sqlite3.Connection:
        """Open a connection for this thread, which any thread may close."""
        self._local.inode = _inode(self._database)
        connection = sqlite3.connect(
            self._database, timeout=self.timeout, isolation_level=None, check_same_thread=False
        )
        with self._connecting:
            self._connections.add(connection)
        self._local.con = connection
        try:
            settings = connection.execute("SELECT key, value FROM Settings").fetchall()
        except sqlite3.OperationalError:
            return connection  # The table of settings is yet to be made.
        except sqlite3.DatabaseError:
            self.close()
            raise
        for key, _ in settings:
            if key in _SETTINGS and key.startswith("sqlite_"):
                self.reset(key, _SETTINGS[key], update=False)
        return connection

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "con", None)
        if connection is not None:
            del self._local.con
            with self._connecting:
                self._connections.discard(connection)
            connection.close()

    def close_all(self) -> None:
        """Close the connections of all threads, none of which may be at work with them."""
        with self._connecting:
            connections, self._connections = self._connections, set()
        for connection in connections:
            connection.close()

    @property
    def _sql_retry(self) -> Callable[..., sqlite3.Cursor]:
        """How diskcache executes what makes a database; its own patience is a minute for each step."""

        def execute(statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
            while True:
                try:
                    return self._con.execute(statement, values)
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() - self._began_s > PATIENCE_S:
                        raise
                    time.sleep(_LOCKED_PAUSE_S)

        return execute

    @property
    def _is_within(self) -> bool:
        """Whether this thread is inside a transaction."""
        return bool(getattr(self._local, "is_within", False))

    @contextlib.contextmanager
    def _transact(
        self,
        retry: bool = False,  # noqa: ARG002 - diskcache's signature
        filename: str | None = None,  # noqa: ARG002
    ) -> Iterator[tuple[Callable[..., sqlite3.Cursor], Callable[[str | None], None]]]:
        """Make all changes inside happen, or none; takes the place of diskcache's, which is never impatient.

        Yields how to execute SQL, and what is told of files to remove, of which there are none.
        """
        if self._is_within:
            yield self._con.execute, _no_file
            return
        connection = self._con
        self._begin(connection)
        self._local.is_within = True
        self._local.is_to_last = False
        try:
            yield connection.execute, _no_file
            connection.execute("COMMIT")
            if self._local.is_to_last:
                self._sync()
        finally:
            self._local.is_within = False
            if connection.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")

    def _begin(self, connection: sqlite3.Connection) -> None:
        patience_s = _LEFT_PATIENCE_S if self._is_stuck else PATIENCE_S
        if getattr(self._local, "patience", None) != (connection, patience_s):
            connection.execute(f"PRAGMA busy_timeout = {round(patience_s * 1000)}")
            self._local.patience = connection, patience_s
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            self._is_stuck = True
            raise
        self._is_stuck = False

    def let_last(self) -> None:
        """Have the running transaction survive a power cut once it has ended."""
        self._local.is_to_last = True

    def _sync(self) -> None:
        """Bring to the disk what has been committed: SQLite itself leaves that to the next checkpoint."""
        # Without that file there was a checkpoint. It bears none of SQLite's locks, which closing would end.
        with contextlib.suppress(FileNotFoundError):
            sync_file(Path(f"{self._database}-wal"))
        sync_directory(Path(self._directory))

    def rows(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """Yield keys that begin with `prefix`, and their values; not what has expired."""
        return self._readable(
            "SELECT key, raw, mode, filename, value FROM Cache"  # noqa: S608 - our own words
            f" WHERE key >= ? AND key < ? AND {_LASTS} ORDER BY key",
            (prefix, prefix + _AFTER_ALL_TEXT, *_now()),
        )

    def _readable(self, query: str, values: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
        for key, raw, mode, filename, value in self._sql(query, values).fetchall():
            # Nobody can ask for what has another key. It must not hide all the others.
            with contextlib.suppress(LedgerDamaged):
                yield self._disk.get(key, raw), self._disk.fetch(mode, filename, value, read=False)

    def pick(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those of the keys that are there, with one query for many."""
        found: dict[str, Any] = {}
        for start in range(0, len(keys), _KEYS_AT_ONCE):
            some = keys[start : start + _KEYS_AT_ONCE]
            marks = ",".join("?" * len(some))
            found |= self._readable(
                f"SELECT key, raw, mode, filename, value FROM Cache WHERE key IN ({marks}) AND raw = 1"  # noqa: S608
                f" AND {_LASTS}",
                (*some, *_now()),
            )
        return found

    def get(self, key: Any, default: Any = None, **_: Any) -> Any:
        """Return a value, `Unreadable` for what is no JSON text."""
        return self.pick([str(key)]).get(str(key), default)

    def write(self, values: Mapping[str, Any], expire_s: float | None = None) -> None:
        """Write rows that last, or last `expire_s`; all of them, or none.

        One statement for many: beside threads that hash, each waits for the interpreter's lock again.
        """
        now = time.time()
        expires_at = None if expire_s is None else now + expire_s
        texts = {key: self._disk.store(value, read=False)[-1] for key, value in values.items()}
        rows = [(key, now, expires_at, now, text) for key, text in texts.items()]
        with self._transact() as (execute, _):
            for start in range(0, len(rows), _ROWS_AT_ONCE):
                self._write(execute, rows[start : start + _ROWS_AT_ONCE])

    def _write(self, execute: Callable[..., sqlite3.Cursor], rows: Sequence[tuple[Any, ...]]) -> None:
        statement, values = _UPSERT.format(",".join([_ROW] * len(rows))), tuple(chain(*rows))
        try:
            execute(statement, values)
        except sqlite3.OperationalError as error:
            if "ON CONFLICT" not in str(error):
                raise
            self._make_unique(execute)
            execute(statement, values)

    def _make_unique(self, execute: Callable[..., sqlite3.Cursor]) -> None:
        """Make the index anew by which rows are found, with one row for each key."""
        dropped = execute(_OLDER_ROWS).rowcount
        execute(_INDEX)
        if dropped > 0:
            self._tell_dropped(dropped, "newer rows have the same keys")

    def remove(self, keys: Sequence[str]) -> None:
        """Remove those of the rows that are there; all of them, or none."""
        with self._transact() as (execute, _):
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                marks = ",".join("?" * len(some))
                execute(f"DELETE FROM Cache WHERE key IN ({marks}) AND raw = 1", some)  # noqa: S608 - our own words

    def forget_expired(self) -> None:
        """Remove what nobody sees any more, or could ever ask for."""
        self._sql(f"DELETE FROM Cache WHERE NOT {_LASTS}", _now())  # noqa: S608 - our own words
        dropped = self._sql("DELETE FROM Cache WHERE NOT raw OR typeof(key) != 'text'").rowcount
        if dropped > 0:
            self._tell_dropped(dropped, "their keys are not text")

    def _tell_dropped(self, rows: int, problem: str) -> None:
        log.error("ledger.rows_dropped table=%s rows=%d problem=%s", self._database, rows, problem)


def _now() -> tuple[float, float]:
    """Return what _LASTS asks for."""
    now = time.time()
    return now, now + SLACK_S


def _inode(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - before each query, and Path.stat takes three times as long
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _no_file(_: str | None) -> None:
    """Values are in the database; none is a file of its own."""

"""Setting a damaged ledger aside before anybody opens it.

What can be known from the disk is rebuilt: blobs and their sizes by `Room.reconcile`,
generations from the copies beside the boards. Lost are pins (rules pin again when
they run), and when blobs were used and proved.
"""

import contextlib
import logging
import sqlite3
import time
from pathlib import Path

log = logging.getLogger(__name__)

_TABLES = ("records", "blobs")


def set_damaged_ledger_aside(directory: Path) -> list[Path]:
    """Move the tables that SQLite cannot read out of the way; return where they are now. Blocks."""
    moved = []
    for name in _TABLES:
        table = directory / name
        problem = _problem(table / "cache.db")
        if problem is not None:
            aside = directory / f"damaged-{name}-{int(time.time())}"
            table.rename(aside)
            log.error("ledger.damaged table=%s problem=%s kept=%s", name, problem, aside)
            moved.append(aside)
    return moved


def _problem(database: Path) -> str | None:
    """Return what is wrong with a database file, None when nothing is, or when there is none."""
    if not _length_bytes(database):
        # SQLite would take that for a new database, and remove the log of what was committed.
        log_bytes = _length_bytes(database.with_name(f"{database.name}-wal"))
        return "it is empty or gone, and its log of changes is not" if log_bytes else None
    try:
        with contextlib.closing(sqlite3.connect(database, timeout=10)) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if answer == "ok" and _is_begun_only(connection):
                return None
            connection.execute("SELECT count(*) FROM Cache").fetchone()
            connection.execute("SELECT count(*) FROM Settings").fetchone()
    except sqlite3.OperationalError as error:
        # Locked, or a disk that fails: no reason to throw anything away. A missing table is one.
        return str(error) if "no such table" in str(error) else None
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if answer == "ok" else str(answer)


def _length_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _is_begun_only(connection: sqlite3.Connection) -> bool:
    """Whether the disk was full when the database was made: opening it goes on, and nothing is lost.

    A table that is lost leaves its pages behind.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    (left,) = connection.execute("PRAGMA freelist_count").fetchone()
    return "Cache" not in tables and not left

"""What lies in a ledger's tables, and the digests that tests name blobs by."""

import sqlite3
from contextlib import closing
from pathlib import Path

from proxy.digest import digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins

ONE, TWO, THREE = (digest_of(name) for name in (b"one", b"two", b"three"))


def rows(directory: Path, table: str) -> list[tuple[object, ...]]:
    """Read a table as SQLite has it: key, is the key plain, mode, file name, value."""
    with closing(sqlite3.connect(directory / table / "cache.db")) as database:
        return database.execute("SELECT key, raw, mode, filename, value FROM Cache").fetchall()


def fill(ledger: Ledger) -> None:
    """Write one of each kind."""
    ledger.write("generation/maas", {"documents": {"a": [1, 2.5, None]}, "long": "x" * 100_000})
    ledger.write("failure/x", ["absent", "path"], expire_s=60)
    Pins(ledger).pin_all("release", [ONE])
    BlobRecords(ledger).add(ONE, 10)
    BlobRecords(ledger).touch({ONE: 5.0})

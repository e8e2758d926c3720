"""A data directory held against what it says of itself: every blob hashed, every ledger row compared.

Reads files and SQLite by itself, so that a fault of the program cannot hide here.
"""

import contextlib
import hashlib
import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TOTAL = "total"


@dataclass(kw_only=True)
class Holdings:
    """What a data directory holds at a moment. Digests are lower-case hex, sizes bytes."""

    blobs: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    total_bytes: int = 0
    """What the ledger says that all blobs come to."""
    wrong: list[str] = field(default_factory=list)
    """Blobs whose bytes are not those that their names promise."""
    partials: dict[str, int] = field(default_factory=dict)
    reserved: dict[str, int] = field(default_factory=dict)
    """How much room is set aside for a digest."""
    pinned: set[str] = field(default_factory=set)
    quarantined: list[str] = field(default_factory=list)

    def pinned_bytes(self) -> int:
        """Return what the blobs come to that must stay."""
        return sum(size for digest, size in self.blobs.items() if digest in self.pinned)

    def has_all_of(self, digest: str, size_bytes: int) -> bool:
        """Whether all of an item is here, in a blob or in a partial file that is to be proved again."""
        return size_bytes in {self.blobs.get(digest), self.partials.get(digest)}

    def lasting_faults(self) -> list[str]:
        """Return what may never be, whoever was killed and when."""
        faults = [f"blob {digest} has wrong bytes" for digest in self.wrong]
        faults += [f"{name} was set aside as damaged" for name in self.quarantined]
        if self.total_bytes != sum(self.rows.values()):
            faults.append(f"the ledger's total is {self.total_bytes}, its rows are {sum(self.rows.values())}")
        faults += [
            f"blob {digest} has {self.blobs[digest]} bytes, its row says {size_bytes}"
            for digest, size_bytes in self.rows.items()
            if self.blobs.get(digest, size_bytes) != size_bytes
        ]
        return faults

    def faults(self) -> list[str]:
        """Return what may not be once a keeper has reconciled the ledger, and nothing is under way."""
        return [
            *self.lasting_faults(),
            *(f"row {digest} has no blob" for digest in self.rows.keys() - self.blobs.keys()),
            *(f"blob {digest} has no row" for digest in self.blobs.keys() - self.rows.keys()),
            *(
                f"room is reserved for {digest}, which nobody fetches"
                for digest in self.reserved.keys() - self.partials.keys()
            ),
        ]


def take_stock(data_dir: Path) -> Holdings:
    """Read everything. Blocks. What vanishes meanwhile is passed over: somebody evicts it."""
    found = Holdings()
    for key, value in _rows(data_dir / "ledger" / "blobs" / "cache.db").items():
        if key == _TOTAL:
            found.total_bytes = int(value)
        else:
            found.rows[key] = int(value[0])
    for key, value in _rows(data_dir / "ledger" / "records" / "cache.db").items():
        kind, _, digest = key.partition("/")
        if kind == "reserved":
            found.reserved[digest] = int(value)
        elif kind == "pin":
            found.pinned.add(digest)
    # Partial files first: one that is committed meanwhile is found as a blob or as both, never as neither.
    for file in (data_dir / "incoming").glob("*"):
        with contextlib.suppress(FileNotFoundError):
            found.partials[file.name] = file.stat().st_size
    for file in (data_dir / "blobs" / "sha256").glob("*/*"):
        with contextlib.suppress(FileNotFoundError), file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            found.blobs[file.name] = opened.tell()
            if digest != file.name:
                found.wrong.append(file.name)
    found.quarantined = [file.name for file in (data_dir / "quarantine").glob("*")]
    return found


def _rows(database: Path) -> dict[str, Any]:
    """Return what a table holds at one moment."""
    if not database.exists():
        return {}
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        found = connection.execute(
            "SELECT key, value FROM Cache WHERE expire_time IS NULL OR expire_time > unixepoch()"
        ).fetchall()
    return {key: json.loads(value) for key, value in found}

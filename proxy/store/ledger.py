"""What is known of blobs and names: the only user of diskcache.

Two tables, each a diskcache.Cache (SQLite in WAL mode, shared by processes):

    records   JSON values by key: generations, pins, failures, reservations
    blobs     a row per blob: size and last use, and the sum of all sizes

Values are JSON text, never pickles: a ledger that somebody tampered with can
mislead, not execute. All methods block, so call them from a thread, and raise
LedgerUnavailable when SQLite fails.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import diskcache

from proxy.digest import Digest
from proxy.store.evict import Usage
from proxy.store.files import StoreFault

_TOTAL = "total"
_SETTINGS = {
    # diskcache drops entries on its own unless told not to.
    "eviction_policy": "none",
    "cull_limit": 0,
    "size_limit": 2**62,
    # Values stay in the database, none in files beside it.
    "disk_min_file_size": 2**31 - 1,
    "sqlite_auto_vacuum": 0,
}


class LedgerDamaged(StoreFault):
    """A ledger entry that is not the text this program writes."""


class LedgerUnavailable(StoreFault):
    """SQLite cannot read or write the ledger now."""


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn SQLite's errors into ours. Also a decorator."""
    try:
        yield
    except (sqlite3.Error, diskcache.Timeout, OSError) as error:
        raise LedgerUnavailable(f"the ledger cannot be used: {error}") from error


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
            raise LedgerDamaged("a value of the ledger is not text")
        try:
            return json.loads(value)
        except ValueError as error:
            raise LedgerDamaged(f"a value of the ledger is not JSON: {error}") from error


class Ledger:
    """Records by key, and the usage of every blob."""

    @_translated()
    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._records = diskcache.Cache(str(directory / "records"), disk=_TextDisk, **_SETTINGS)
        self._blobs = diskcache.Cache(str(directory / "blobs"), disk=_TextDisk, **_SETTINGS)

    @_translated()
    def close(self) -> None:
        """Let go of this thread's connections."""
        self._records.close()
        self._blobs.close()

    # Records

    @_translated()
    def record(self, key: str) -> Any:
        """Return a record, None when there is none."""
        return self._records.get(key)

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
        return [key for key in self._records if key.startswith(prefix)]

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all record changes inside happen, or none."""
        with _translated(), self._records.transact(retry=True):
            yield

    # Pins

    @_translated()
    def pin(self, digest: Digest, name: str) -> None:
        """Keep a blob from eviction for as long as the pin of that name stays."""
        with self.transaction():
            names = set(self.record(f"pin/{digest}") or ())
            self.write(f"pin/{digest}", sorted(names | {name}))

    @_translated()
    def unpin(self, digest: Digest, name: str) -> None:
        """Take one named pin back."""
        with self.transaction():
            names = set(self.record(f"pin/{digest}") or ()) - {name}
            if names:
                self.write(f"pin/{digest}", sorted(names))
            else:
                self.forget(f"pin/{digest}")

    @_translated()
    def repin(self, name: str, digests: Collection[Digest]) -> None:
        """Make a named pin keep exactly these blobs."""
        with self.transaction():
            for digest in self.pinned_by(name) - set(digests):
                self.unpin(digest, name)
            for digest in digests:
                self.pin(digest, name)

    @_translated()
    def pinned_by(self, name: str) -> set[Digest]:
        """Return the digests that a named pin keeps."""
        return {digest for digest in self.pinned() if name in (self.record(f"pin/{digest}") or ())}

    @_translated()
    def pinned(self) -> set[Digest]:
        """Return the digests that some pin keeps."""
        return {Digest(key.removeprefix("pin/")) for key in self.keys("pin/")}

    # Blobs

    @_translated()
    def add_blob(self, digest: Digest, size_bytes: int) -> None:
        """Note that a blob is in the store; adding it twice counts once."""
        with self._blobs.transact(retry=True):
            if digest not in self._blobs:
                self._blobs[digest] = [size_bytes, self._clock()]
                self._blobs[_TOTAL] = self.total_bytes() + size_bytes

    @_translated()
    def forget_blob(self, digest: Digest) -> None:
        """Note that a blob is gone."""
        with self._blobs.transact(retry=True):
            row = self._blobs.get(digest)
            if row is not None:
                del self._blobs[digest]
                self._blobs[_TOTAL] = self.total_bytes() - row[0]

    @_translated()
    def touch(self, used_at: dict[Digest, float]) -> None:
        """Note when blobs were last used, Unix seconds."""
        with self._blobs.transact(retry=True):
            for digest, when in used_at.items():
                row = self._blobs.get(digest)
                if row is not None:
                    self._blobs[digest] = [row[0], when]

    @_translated()
    def total_bytes(self) -> int:
        """Return the sum of all blob sizes."""
        return int(self._blobs.get(_TOTAL, 0))

    @_translated()
    def usages(self) -> list[Usage]:
        """Return what is known of every blob."""
        rows = ((key, self._blobs.get(key)) for key in self._blobs if key != _TOTAL)
        return [Usage(Digest(key), row[0], row[1]) for key, row in rows if row is not None]

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
        with self._blobs.transact(retry=True):
            missing = [one for one in on_disk.keys() - before.keys() if one not in self._blobs]
            surplus = [one for one in before.keys() - on_disk.keys() if not is_there(one)]
            for digest in missing:
                self._blobs[digest] = list(on_disk[digest])
            for digest in surplus:
                self._blobs.pop(digest)
            if missing or surplus or _TOTAL not in self._blobs:
                self._blobs[_TOTAL] = sum(usage.size_bytes for usage in self.usages())
        return len(missing), len(surplus)

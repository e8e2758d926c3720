"""Whether the store takes what is written to it: tried out, as a fill and its bookkeeping would do it."""

import contextlib
import fcntl
import os
from pathlib import Path

from proxy.store.files import StoreFault, remove
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.local import DRAFT_PREFIX, LocalStore
from proxy.system.durable import sync_directory

_PROBE_BYTES = 64 * 1024


def find_faults(store: LocalStore, ledger: Ledger) -> list[str]:
    """Return in words what cannot be written, nothing when all can. Blocks for as long as the disk does."""
    faults = []
    try:
        _try_out(store)
    except OSError as error:
        faults.append(str(StoreFault.of("blobs cannot be stored", error)))
    try:
        ledger.try_out()
    except LedgerUnavailable as error:
        faults.append(str(error))
    return faults


def _try_out(store: LocalStore) -> None:
    """Write a file as a blob arrives: its bytes, to the disk, and then under another name."""
    draft = store.incoming / f"{DRAFT_PREFIX}probe-{os.getpid()}"
    final = store.blobs / draft.name
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)  # Or it would be taken for what a dead process left.
        data = memoryview(bytes(_PROBE_BYTES))
        while data:
            data = data[os.write(fd, data) :]
        os.fsync(fd)
        draft.rename(final)
        sync_directory(final.parent)
    finally:
        os.close(fd)
        _remove(draft)
        _remove(final)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        remove(path)

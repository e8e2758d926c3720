"""Writing files so that a crash leaves the old or the new, never half of one."""

import contextlib
from pathlib import Path

from proxy.durable import sync_directory
from proxy.errors import ProxyError


class StoreFault(ProxyError):
    """The store cannot take or give something now: no room, or the disk fails."""


def publish(draft: Path, final: Path) -> None:
    """Move a finished, synced file to its final name, durably."""
    try:
        draft.rename(final)
    except FileNotFoundError:
        final.parent.mkdir(parents=True, exist_ok=True)
        sync_directory(final.parent.parent)
        draft.rename(final)
    sync_directory(final.parent)


def remove(path: Path) -> None:
    """Remove a file that may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()

"""When blobs were last used: noted in memory, written to the ledger now and then.

A hit must not wait for SQLite; losing the last second of notes in a crash only
makes eviction a little less exact.
"""

import asyncio
import contextlib
import logging

from proxy.digest import Digest
from proxy.store.files import StoreFault
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_FLUSH_INTERVAL_S = 1.0


class UsageNotes:
    """Collects uses; `run` writes them down."""

    def __init__(self, storage: Storage) -> None:
        self._blobs = storage.blobs
        self._threads = storage.threads
        self._used_at: dict[Digest, float] = {}

    def note(self, digest: Digest, now: float) -> None:
        """Note that a blob is used now (Unix seconds)."""
        self._used_at[digest] = now

    async def run(self) -> None:
        """Write the notes down every second, until cancelled; then once more."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_INTERVAL_S)
                await self.flush()
        finally:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(self.flush())

    async def flush(self) -> None:
        """Write down what was noted since the last time."""
        if not self._used_at:
            return
        noted, self._used_at = self._used_at, {}
        try:
            await self._threads.ledger(self._blobs.touch, noted)
        except StoreFault as error:
            log.warning("ledger.not_written problem=%s", error)

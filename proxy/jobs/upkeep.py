"""Upkeep: making room ahead of need, dropping what nobody names any more, forgetting what has expired.

And mending the store itself: folders that somebody removed, a ledger that SQLite
cannot read any more.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.errors import ProxyError
from proxy.jobs.audit import AuditReader, audit_file
from proxy.jobs.scrub import Scrubber
from proxy.service.cache import Cache
from proxy.store.eviction_order import Usage
from proxy.store.limits import StoreLimits
from proxy.store.recovery import set_damaged_ledger_aside

log = logging.getLogger(__name__)

_BEGIN_PAUSE_S = 1.0
_ROOM_EVERY_S = 10.0
_TIDY_EVERY_S = 3600.0
_SCRUB_EVERY_S = 30.0
_LISTEN_EVERY_S = 2.0
_TRY_EVERY_S = 5.0
_TRY_AGAIN_S = 1.0
"""While something cannot be written, for its end to be known soon."""
_AT_ONCE = 100
"""Blobs evicted before others may use the disk."""


class Upkeep:
    """The chores of the keeper that no schedule names."""

    def __init__(
        self, cache: Cache, limits: StoreLimits, scrubber: Scrubber, clock: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._storage = cache.storage
        self._limits = limits
        self._scrubber = scrubber
        self._clock = clock

    async def begin(self) -> None:
        """Bring the ledger in line with the disk; return when that is done, however long the disk fails."""
        while True:
            try:
                await self._storage.threads.slow(self._mend)
                await self._reconcile()
            except (ProxyError, OSError) as error:
                log.warning("store.not_reconciled problem=%s", error)
                await self._storage.threads.slow(self._storage.health.try_out)
                await asyncio.sleep(_BEGIN_PAUSE_S)
            else:
                return

    async def run(self) -> None:
        """Do all chores again and again, until cancelled."""
        reader = await self._storage.threads.disk(AuditReader, audit_file(self._storage.data_dir))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._try_out())
            group.create_task(_again(self._look_after_store, _ROOM_EVERY_S))
            group.create_task(_again(self._make_headroom, _ROOM_EVERY_S))
            group.create_task(_again(self.tidy, _TIDY_EVERY_S))
            group.create_task(_again(self._scrubber.run, _SCRUB_EVERY_S))
            group.create_task(
                _again(lambda: self._storage.threads.disk(reader.tell_commands), _LISTEN_EVERY_S)
            )

    async def _try_out(self) -> None:
        """Find out again and again whether the store can be written, for all processes."""
        while True:
            faults = await self._storage.threads.slow(self._storage.health.try_out)
            await asyncio.sleep(_TRY_AGAIN_S if faults else _TRY_EVERY_S)

    async def _look_after_store(self) -> None:
        if await self._storage.threads.slow(self._mend):
            await self._reconcile()

    def _mend(self) -> bool:
        """Make what is missing and set aside what is damaged; say whether the ledger is a new one. Blocks."""
        self._storage.store.restore()
        return bool(set_damaged_ledger_aside(self._storage.ledger.directory))

    async def _reconcile(self) -> None:
        for mirror in self._cache.mirrors:
            await self._cache.recorded(mirror)  # Known to the ledger before anything may be evicted.
        await self._storage.threads.slow(self._storage.reconciliation.reconcile)

    async def _make_headroom(self) -> None:
        await self._storage.threads.removal(self._storage.room.make_headroom, self._limits.headroom_bytes)

    async def tidy(self) -> None:
        """Remove blobs that no list names and nobody used for long, and expired records."""
        await self._storage.threads.slow(self._storage.ledger.forget_expired)
        await self._storage.threads.slow(self._storage.blobs.mend_moments)
        await self._storage.threads.slow(self._storage.reconciliation.tidy)
        await self._storage.threads.slow(self._tidy_listings)
        if not await self._cache.knows_all_lists():
            return  # A mirror whose lists are not known may name anything.
        old = await self._storage.threads.slow(self._unlisted)
        for start in range(0, len(old), _AT_ONCE):
            await self._storage.threads.removal(self._storage.eviction.evict, old[start : start + _AT_ONCE])

    def _tidy_listings(self) -> None:
        self._cache.reading.listings.tidy(self._storage.eviction.documents_in_use())

    def _unlisted(self) -> list[Usage]:
        """Return the blobs that may go. Blocks."""
        kept = self._storage.eviction.protected()
        before = self._clock() - self._limits.keep_unlisted_s
        return [
            usage
            for usage in self._storage.blobs.usages()
            if usage.used_at < before
            and usage.digest not in kept
            and self._cache.find_digest(usage.digest) is None
        ]


async def _again(chore: Callable[[], Awaitable[None]], every_s: float) -> None:
    """Do a chore, now and every so often; what fails is tried again next time."""
    while True:
        try:
            await chore()
        except (ProxyError, OSError) as error:
            log.warning("chore.failed problem=%s", error)
        await asyncio.sleep(every_s)

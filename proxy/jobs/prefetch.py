"""Fetching what a selection wants, and keeping it.

One bad item stops nobody else. What arrived stays when the work is interrupted,
and the next run goes on from there.
"""

import asyncio
import logging
import time
from collections.abc import Iterable

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.fills.pace import Pace
from proxy.jobs.plan import Plan, Space, Wanted, make_plan
from proxy.jobs.progress import Summary, Watcher
from proxy.readable import size
from proxy.service.cache import Cache

log = logging.getLogger(__name__)

_RATE = "rate/"
_ANY_BYTES = 2**63
"""More than any file has: whatever is here counts."""
_LEAST_MEASURED_BYTES = 10 * 1000**2
"""What a transfer must come to for its rate to tell anything."""


_CONTRADICTED = "the lists give its sha256 another size elsewhere, and only one can be right"


class NoSpace(ProxyError):
    """A plan that does not fit, even if all that may go were evicted."""

    def __init__(self, space: Space) -> None:
        kept, free = size(space.min_free_bytes), size(space.free_bytes)
        reserve = (
            f" ([cache] min_free keeps {kept} of the disk's {free} free)" if space.min_free_bytes else ""
        )
        super().__init__(
            f"it does not fit, {size(space.missing_bytes)} are lacking{reserve}: raise [cache] limit, free "
            "disk space, or let go of pins (`stats` lists them, `unpin --name` drops one)"
        )
        self.missing_bytes = space.missing_bytes


async def plan_prefetch(cache: Cache, wanted: Iterable[Wanted]) -> Plan:
    """Return what fetching the wanted items would take."""
    store = cache.storage.store
    return await cache.storage.threads.slow(
        make_plan,
        list(wanted),
        lambda item: store.held_bytes(item.digest, item.size_bytes),
        lambda item: store.is_whole(item.digest, item.size_bytes),
    )


async def plan_space(cache: Cache, plan: Plan) -> Space:
    """Return what a plan would do to the store."""
    storage = cache.storage
    free_bytes, evicted, missing_bytes = await storage.threads.ledger(
        storage.room.foresee, plan.fetch_bytes, plan.digests
    )
    return Space(
        free_bytes=free_bytes,
        evicted=tuple(evicted),
        missing_bytes=missing_bytes,
        min_free_bytes=storage.room.min_free_bytes,
    )


async def estimate_s(cache: Cache, plan: Plan) -> float | None:
    """Return how long a plan takes at the rate of the last transfer, in seconds; None if that is unknown."""
    if not plan.missing:
        return 0.0
    storage = cache.storage
    rate = await storage.threads.ledger(storage.ledger.record, _RATE + plan.missing[0].mirror)
    return plan.fetch_bytes / rate if rate else None


async def prefetch(
    cache: Cache, plan: Plan, transfers: int, summary: Summary, watcher: Watcher, pace: Pace | None = None
) -> None:
    """Fetch what a plan misses, `transfers` items at a time; `summary` is kept current.

    Cancelling it stops the transfers; what has arrived of them is kept.
    """
    watcher.planned(plan)
    began = time.monotonic()
    queue = asyncio.Queue[Wanted]()
    for one in plan.missing:
        queue.put_nowait(one)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(transfers, len(plan.missing))):
            group.create_task(_work(cache, queue, summary, watcher, pace))
    summary.failures += [(one, _CONTRADICTED) for one in plan.contradicted]
    if summary.fetched_bytes >= _LEAST_MEASURED_BYTES:
        storage, rate = cache.storage, summary.fetched_bytes / (time.monotonic() - began)
        await storage.threads.ledger(storage.ledger.write, _RATE + plan.missing[0].mirror, rate)


async def _work(
    cache: Cache, queue: asyncio.Queue[Wanted], summary: Summary, watcher: Watcher, pace: Pace | None
) -> None:
    while not queue.empty():
        wanted = queue.get_nowait()
        item, storage = wanted.item, cache.storage
        held_bytes = await storage.threads.disk(storage.store.held_bytes, item.digest, item.size_bytes)
        problem = None
        try:
            async for filled_bytes in cache.ensure(wanted.mirror, item, pace):
                watcher.moved(wanted, filled_bytes)
        except ProxyError as error:
            problem = str(error)
            summary.failures.append((wanted, problem))
            log.warning("prefetch.failed mirror=%s path=%s problem=%s", wanted.mirror, item.path, error)
        else:
            summary.fetched_items += 1
            summary.fetched_bytes += item.size_bytes - held_bytes
        watcher.ended(wanted, problem)


async def pin_also(cache: Cache, name: str, plan: Plan) -> None:
    """Pin what a plan wants, here or about to be, under a name; let go of nothing."""
    await cache.storage.threads.ledger(cache.storage.ledger.pin_all, name, plan.digests)


async def unpin_if_nothing_came(cache: Cache, name: str) -> None:
    """Let go of a pin that keeps nothing at all, such as that of a prefetch of which all has failed."""
    storage, store = cache.storage, cache.storage.store

    def is_any_here(digest: Digest) -> bool:
        return store.has(digest) or store.held_bytes(digest, _ANY_BYTES) > 0

    def unpin() -> None:
        with storage.ledger.lasting_transaction():
            pinned = storage.ledger.pinned_by(name)
            if not any(map(is_any_here, pinned)):
                for digest in pinned:
                    storage.ledger.unpin(digest, name)

    await storage.threads.ledger(unpin)


async def pin_only(cache: Cache, name: str, plan: Plan, hold_s: float) -> int:
    """Pin what a completed plan wanted under a name; return how many blobs that lets go.

    Those stay for `hold_s` more: clients may still work from an older list.
    """
    storage = cache.storage
    return len(await storage.threads.ledger(storage.ledger.repin, name, plan.digests, hold_s))

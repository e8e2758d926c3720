"""Fetching what a selection wants, and keeping it.

One bad item stops nobody else. What arrived stays when the work is interrupted,
and the next run goes on from there.
"""

import asyncio
import logging
from collections.abc import Iterable

from proxy.cache.service import Cache
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.jobs.plan import Plan, Space, Wanted, make_plan
from proxy.jobs.progress import Summary, Watcher

log = logging.getLogger(__name__)


class NoSpace(ProxyError):
    """A plan that does not fit, even if all that may go were evicted."""

    def __init__(self, missing_bytes: int) -> None:
        super().__init__(
            f"{missing_bytes} bytes do not fit: raise cache.limit, free disk space, "
            "or drop pins of rules that you no longer need"
        )
        self.missing_bytes = missing_bytes


async def plan_prefetch(cache: Cache, wanted: Iterable[Wanted]) -> Plan:
    """Return what fetching the wanted items would take."""
    store = cache.storage.store
    return await cache.storage.threads.slow(
        make_plan, list(wanted), lambda item: store.held_bytes(item.digest, item.size_bytes)
    )


async def plan_space(cache: Cache, plan: Plan) -> Space:
    """Return what a plan would do to the store."""
    storage = cache.storage
    free_bytes, evicted, missing_bytes = await storage.threads.ledger(
        storage.room.foresee, plan.fetch_bytes, plan.digests
    )
    return Space(free_bytes=free_bytes, evicted=tuple(evicted), missing_bytes=missing_bytes)


async def prefetch(cache: Cache, plan: Plan, transfers: int, watcher: Watcher) -> Summary:
    """Fetch what a plan misses, `transfers` items at a time.

    Cancelling it stops the transfers; what has arrived of them is kept.
    """
    summary = Summary(reused_bytes=plan.held_bytes, shared_bytes=plan.shared_bytes)
    watcher.planned(plan)
    queue = asyncio.Queue[Wanted]()
    for one in plan.missing:
        queue.put_nowait(one)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(transfers, len(plan.missing))):
            group.create_task(_work(cache, queue, summary, watcher))
    return summary


async def _work(cache: Cache, queue: asyncio.Queue[Wanted], summary: Summary, watcher: Watcher) -> None:
    while not queue.empty():
        wanted = queue.get_nowait()
        item, storage = wanted.item, cache.storage
        held_bytes = await storage.threads.disk(storage.store.held_bytes, item.digest, item.size_bytes)
        problem = None
        try:
            async for filled_bytes in cache.ensure(wanted.mirror, item):
                watcher.moved(wanted, filled_bytes)
        except ProxyError as error:
            problem = str(error)
            summary.failures.append((wanted, problem))
            log.warning(
                "prefetch.failed mirror=%s path=%s problem=%s", wanted.mirror, wanted.item.path, error
            )
        else:
            summary.fetched_items += 1
            summary.fetched_bytes += item.size_bytes - held_bytes
        watcher.ended(wanted, problem)


async def keep(cache: Cache, name: str, digests: frozenset[Digest]) -> None:
    """Pin what a prefetch brought under its name, and let go of what it no longer wants."""
    await cache.storage.threads.ledger(cache.storage.ledger.repin, name, digests)


async def add_to_pin(cache: Cache, name: str, digests: frozenset[Digest]) -> None:
    """Pin what an incomplete prefetch brought, and let go of nothing."""
    storage = cache.storage
    held = await storage.threads.ledger(storage.ledger.pinned_by, name)
    await keep(cache, name, digests | held)

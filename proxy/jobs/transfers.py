"""The transfers of a prefetch: several items at a time, and one that fails stops no other."""

import asyncio
import logging
import time

from proxy.errors import ProxyError
from proxy.fills.pace import Pace
from proxy.jobs.plan import Plan, Wanted
from proxy.jobs.watching import FetchReport, Watcher
from proxy.service.cache import Cache
from proxy.sources.errors import ItemAbsent
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Rate, Schema

log = logging.getLogger(__name__)

_RATE = Kind("rate/", Schema(Rate))
"""Bytes a second of the last prefetch from each mirror that was long enough to tell."""
_LEAST_MEASURED_BYTES = 10 * 1000**2
"""What a transfer must come to for its rate to tell anything."""
_CONTRADICTED = "the lists give its sha256 another size elsewhere, and only one can be right"


def known_rate(cache: Cache, plan: Plan) -> float | None:
    """Return at how many bytes a second the last transfer from the plan's mirror went, if known. Blocks."""
    return known(_RATE.read(cache.storage.ledger, plan.missing[0].mirror))


def last_rates(ledger: Ledger) -> dict[str, float]:
    """Return at how many bytes a second the last transfer of a prefetch went, by mirror. Blocks."""
    found = ((mirror, known(rate)) for mirror, rate in _RATE.read_all(ledger).items())
    return {mirror: rate for mirror, rate in found if rate is not None}


async def fetch(
    cache: Cache, plan: Plan, transfers: int, report: FetchReport, watcher: Watcher, pace: Pace | None = None
) -> None:
    """Fetch what a plan misses, `transfers` items at a time; `report` is kept current.

    Cancelling it stops the transfers; what has arrived of them is kept.
    """
    began = time.monotonic()
    queue = asyncio.Queue[Wanted]()
    for one in plan.missing:
        queue.put_nowait(one)
    async with asyncio.TaskGroup() as group:
        for _ in range(min(transfers, len(plan.missing))):
            group.create_task(_work(cache, queue, report, watcher, pace))
    report.failures += [(one, _CONTRADICTED) for one in plan.contradicted]
    if report.fetched_bytes >= _LEAST_MEASURED_BYTES:
        storage, rate = cache.storage, report.fetched_bytes / (time.monotonic() - began)
        await storage.threads.ledger(_RATE.write, storage.ledger, rate, plan.missing[0].mirror)


async def _work(
    cache: Cache, queue: asyncio.Queue[Wanted], report: FetchReport, watcher: Watcher, pace: Pace | None
) -> None:
    while not queue.empty():
        wanted = queue.get_nowait()
        item, storage = wanted.item, cache.storage
        held_bytes = await storage.threads.disk(storage.store.stored_bytes, item.digest, item.size_bytes)
        watcher.moved(wanted, held_bytes)
        problem = None
        try:
            async for filled_bytes in cache.ensure(wanted.mirror, item, pace):
                watcher.moved(wanted, filled_bytes)
        except ProxyError as error:
            problem = str(error)
            report.failures.append((wanted, problem))
            if isinstance(error, ItemAbsent):
                report.absent.append(wanted)
                watcher.absent(wanted, problem)
                continue
            log.warning("prefetch.failed mirror=%s path=%s problem=%s", wanted.mirror, item.path, error)
        else:
            report.fetched_items += 1
            report.fetched_bytes += item.size_bytes - held_bytes
        watcher.ended(wanted, problem)

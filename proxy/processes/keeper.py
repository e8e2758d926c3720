"""The keeper process: does what must be done once, beside the workers.

It brings the ledger in line with the disk after a crash, makes room ahead of
need, hashes blobs again, and runs the prefetch rules when they are due, so that
clients' requests never wait for that.
"""

import asyncio
import logging
import os
import time
from functools import partial
from random import Random

from proxy.config.config import Config
from proxy.counting.totals import read_totals
from proxy.jobs.importing.unattended import WaitingWatch
from proxy.jobs.pins import pin_served_lock
from proxy.jobs.run_requested import RequestRunner
from proxy.jobs.run_rule import RuleRunner
from proxy.jobs.scheduler import Scheduler
from proxy.jobs.scrub import Scrubber
from proxy.jobs.upkeep import Upkeep
from proxy.logs.handler import LineHandler
from proxy.processes.listeners import Listeners
from proxy.processes.loaded_config import LoadedConfig
from proxy.processes.supervisor_link import SupervisorLink
from proxy.processes.waiting import serve_waiting
from proxy.reporting.history import write_down_hours
from proxy.runtime import open_rulebook, open_runtime
from proxy.service.cache import Cache

log = logging.getLogger(__name__)

_HOURS_EVERY_S = 600.0


async def keep(loaded: LoadedConfig, listeners: Listeners, link: SupervisorLink, lines: LineHandler) -> None:
    """Keep house until told to stop."""
    listeners.close()  # Clients are the workers' business; their port must be free when those are gone.
    config = loaded.config
    async with (
        link.held(),
        open_runtime(
            config, time.time, loaded.keyrings, lockfile=loaded.lockfile, sharing=config.worker_count()
        ) as cache,
        lines.dropped_lines_counted(cache.storage.counters.log.dropped),
    ):
        await pin_served_lock(cache, loaded.lockfile)
        chores = asyncio.create_task(_keep(loaded, cache), name="chores")
        log.info("keeper.ready pid=%d", os.getpid())
        told = asyncio.create_task(link.told_to_stop(), name="stopping")
        await asyncio.wait([chores, told], return_when=asyncio.FIRST_COMPLETED)
        for task in (chores, told):
            task.cancel()
        results = await asyncio.gather(chores, told, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]
    log.info("keeper.stopped pid=%d", os.getpid())


async def _keep(loaded: LoadedConfig, cache: Cache) -> None:
    config = loaded.config
    scrubber = Scrubber(cache, config.scrub, time.time)
    upkeep = Upkeep(cache, config.cache, scrubber, time.time)
    await upkeep.begin()
    async with asyncio.TaskGroup() as group:
        group.create_task(upkeep.run(), name="upkeep")
        group.create_task(_run_rules(config, cache), name="rules")
        group.create_task(_run_requested(config, cache), name="requested")
        group.create_task(_write_down_hours(config, cache), name="hours")
        if loaded.lockfile is None:
            watch = WaitingWatch(cache.storage, cache.mirrors, partial(serve_waiting, loaded))
            group.create_task(watch.run(), name="waiting")


async def _write_down_hours(config: Config, cache: Cache) -> None:
    """Keep what was counted for longer than counters do."""
    folder = config.data_dir / "stats"

    def write_down() -> None:
        write_down_hours(folder, read_totals(folder), time.time())

    while True:
        try:
            await cache.storage.threads.slow(write_down)
        except OSError as error:
            log.warning("history.not_written problem=%s", error)
        await asyncio.sleep(_HOURS_EVERY_S)


async def _run_requested(config: Config, cache: Cache) -> None:
    transfers, hold_s = config.upstream.background_transfers, config.freshness.retain_s
    await RequestRunner(cache, time.time, transfers, hold_s).run()


async def _run_rules(config: Config, cache: Cache) -> None:
    book = await open_rulebook(config, cache)
    transfers, hold_s = config.upstream.background_transfers, config.freshness.retain_s
    runner = RuleRunner(cache, book, time.time, transfers, hold_s)
    random = Random()  # noqa: S311 - spreads load, guards nothing
    await Scheduler(cache, config.prefetch, book, runner, time.time, random, hold_s).run()

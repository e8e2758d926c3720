"""Running prefetch rules in the test's event loop, by the test's clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from proxy.jobs.rulebook import Result, RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.run_rule import RuleRunner
from proxy.jobs.scheduler import Scheduler
from proxy.runtime import open_rulebook
from support.running import Clock, RunningProxy

HOUR = 3600.0
LOOK_EVERY_S = 0.05


def runner_of(proxy: RunningProxy, book: RuleBook, clock: Clock) -> RuleRunner:
    return RuleRunner(proxy.cache, book, clock, 4, HOUR)


@asynccontextmanager
async def scheduled(proxy: RunningProxy, clock: Clock, *rules: Rule) -> AsyncIterator[RuleBook]:
    """Run a scheduler in this event loop, by the test's clock."""
    book = await open_rulebook(proxy.config, proxy.cache)
    runner = RuleRunner(proxy.cache, book, clock, 4, HOUR)
    scheduler = Scheduler(proxy.cache, rules, book, runner, clock, Random(1), HOUR, look_every_s=LOOK_EVERY_S)
    task = asyncio.create_task(scheduler.run())
    try:
        yield book
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def some_looks() -> None:
    """Return when the scheduler has looked several times whether something is due."""
    await asyncio.sleep(6 * LOOK_EVERY_S)


async def ran(proxy: RunningProxy, book: RuleBook, name: str, since: float) -> Result:
    """Wait for a run that began since a moment."""
    ledger = proxy.cache.storage.threads.ledger
    async with asyncio.timeout(30):
        while (last := (await ledger(book.page, name)).last) is None or last.started_at < since:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return last


async def due_at(proxy: RunningProxy, book: RuleBook, name: str, now: float) -> float:
    """Wait until it is known when a rule is due, after a moment."""
    ledger = proxy.cache.storage.threads.ledger
    async with asyncio.timeout(30):
        while (due := (await ledger(book.page, name)).next_at) is None or due < now:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return due

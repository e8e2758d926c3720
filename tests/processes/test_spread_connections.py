"""Connections are spread evenly over the workers, which the ids of requests in the log tell apart."""

import asyncio
import os
import re
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.wire import Wire
from support.workers import Workers, frozen, run_workers

from proxy.mirror import Mirror

_WORKER = re.compile(r"^.* request .* id=([0-9a-f]+)-")


async def ask(workers: Workers, stack: AsyncExitStack) -> None:
    """Ask over a connection of its own, which stays open as long as the stack."""
    wire = await stack.enter_async_context(Wire.to(workers.service.base))
    assert (await wire.ask("/")).status == 200


async def at_once(workers: Workers, count: int) -> None:
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(ask(workers, stack) for _ in range(count)))


async def one_after_another(workers: Workers, count: int) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(count):
            await ask(workers, stack)


async def shortly(workers: Workers, count: int) -> None:
    for _ in range(count):
        async with AsyncExitStack() as stack:
            await ask(workers, stack)


async def answered(workers: Workers, count: int) -> Counter[int]:
    """Return how many requests each worker has answered, once there are so many."""
    await workers.log.seen(" request ", count)
    found = [_WORKER.match(line) for line in workers.log.having(" request ")]
    return Counter(int(one[1], 16) for one in found if one is not None)


@pytest.mark.parametrize("open_them", [at_once, one_after_another, shortly])
@pytest.mark.parametrize(("number", "count"), [(2, 32), (4, 64)])
async def test_connections_are_spread_evenly(
    tmp_path: Path,
    mirror: Mirror,
    open_them: Callable[[Workers, int], Awaitable[None]],
    number: int,
    count: int,
) -> None:
    async with run_workers(tmp_path, mirror, number) as workers:
        await open_them(workers, count)
        shares = await answered(workers, count)
        assert set(shares) == set(workers.pids)
        fair = count / number
        assert all(0.8 * fair <= share <= 1.2 * fair for share in shares.values()), shares


async def test_a_worker_that_hangs_costs_newcomers_nothing_and_one_that_was_restarted_gets_its_share(
    tmp_path: Path, mirror: Mirror
) -> None:
    async with run_workers(tmp_path, mirror) as workers, AsyncExitStack() as stack:
        victim, other = workers.pids
        with frozen([victim]):
            async with asyncio.timeout(10):
                for _ in range(16):
                    await ask(workers, stack)
        assert await answered(workers, 16) == {other: 16}
        os.kill(victim, signal.SIGKILL)
        await workers.log.seen("worker.ready", 3)
        for _ in range(16):
            await ask(workers, stack)
        [new] = set(workers.pids) - {other}
        assert (await answered(workers, 32))[new] >= 12

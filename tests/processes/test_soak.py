"""A crowd before a running service: no wrong body, no error that nobody injected, nothing left open.

`bench/soak.py` does the same for minutes or hours, and looks at the memory too.
"""

import asyncio
import contextlib
import signal
from collections import Counter
from pathlib import Path

from support.crowd import Crowd, Offer
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.process_tree import Process, descriptors, processes, thread_count
from support.tree import SignedTree
from support.workers import Workers, ended, run_workers
from yarl import URL

from proxy.mirror import Mirror

CLIENTS = 20
VISITS = 12
SETTINGS = """
[cache]
limit = "8 MiB"
min_free = "0 B"
[freshness]
fresh_for = "500ms"
"""
LEDGER_DESCRIPTORS_PER_THREAD = 6
"""Two tables, each a database with its log and its shared memory."""


def opened(workers: Workers) -> dict[Process, Counter[str]]:
    """Return what each process has open, but for the ledger, which each thread opens that asks it."""
    found = {
        process: descriptors(process.pid, workers.data_dir)
        for process in processes(workers.service.process.pid)
    }
    for process, kinds in found.items():
        assert kinds.pop("ledger", 0) <= LEDGER_DESCRIPTORS_PER_THREAD * thread_count(process.pid)
    return found


def by_role(found: dict[Process, Counter[str]]) -> dict[str, Counter[str]]:
    """Return the most of each kind that a process of each role has, for comparing it with others."""
    most: dict[str, Counter[str]] = {}
    for process, kinds in found.items():
        most[process.role] = most.get(process.role, Counter()) | kinds
    return most


def grown(workers: Workers, before: dict[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Return what processes of each role have open now, and had not before."""
    now = by_role(opened(workers))
    return {role: more for role, kinds in now.items() if (more := kinds - before[role])}


async def reloaded(workers: Workers) -> None:
    """Let new processes take over; return when the old ones have ended."""
    before = [process for process in processes(workers.service.process.pid) if process.role != "supervisor"]
    workers.service.process.send_signal(signal.SIGHUP)
    for process in before:
        await ended(process.pid)


async def test_a_crowd_gets_right_bytes_only_and_leaves_nothing_open(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Through evictions, a new list, a failing origin, clients that hang up, and a reload."""
    offer = Offer(tree)
    offer.republish()
    async with run_workers(tmp_path, mirror, settings=SETTINGS) as workers:
        # With its first connection libuv opens a descriptor to have one to spare, and keeps it.
        await read(URL(workers.service.base) / "-/health")
        before = by_role(opened(workers))
        crowd = Crowd(workers.service.base, mirror.mount, offer)
        origin.fault("*/item-5", Fault(cut_after=500_000), times=2)
        origin.fault("*/item-4", Fault(status=503), times=2)
        async with asyncio.TaskGroup() as group:
            group.create_task(crowd.come(CLIENTS, visits=VISITS))
            await asyncio.to_thread(offer.republish)
            await origin.arrived("*/item-5", 2)
            group.create_task(reloaded(workers))
        await workers.log.seen("blob.evicted")

        assert list(crowd.findings.faults) == []
        assert crowd.findings.wrong_bodies == 0
        assert crowd.findings.checked_bodies > CLIENTS
        await origin.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(30):
                while grown(workers, before):  # noqa: ASYNC110 - nothing tells that a descriptor closes
                    await asyncio.sleep(0.1)
        assert not grown(workers, before)

"""A crowd before a running service: no wrong body, no error that nobody injected, nothing left open.

`bench/soak.py` does the same for minutes or hours, and looks at the memory too.
"""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

from support.crowd import Crowd, Offer
from support.faults import Fault
from support.origin import Origin
from support.process_tree import Process, descriptors, processes, thread_count
from support.tree import SignedTree
from support.workers import Workers, ended, run_workers

from proxy.cache.mirror import Mirror

CLIENTS = 20
SETTINGS = """
[cache]
limit = "8 MiB"
min_free = "0 B"
[freshness]
fresh_for = "500ms"
"""
LEDGER_DESCRIPTORS_PER_THREAD = 6
"""Two tables, each a database with its log and its shared memory."""


async def crowd_comes(crowd: Crowd, offer: Offer, origin: Origin, visits: int) -> None:
    """Let the crowd come while the list changes and the origin has its moods; then close its connections."""
    async with asyncio.TaskGroup() as group:
        group.create_task(crowd.come(CLIENTS, visits=visits))
        origin.fault("*/item-5", Fault(cut_after=500_000), times=3)
        origin.fault("*/item-4", Fault(status=503), times=2)
        await asyncio.to_thread(offer.republish)
    await origin.stop()
    await origin.start()


async def settled(workers: Workers, is_settled: object = None) -> dict[Process, Counter[str]]:
    """Return the descriptors of each process, once no connection or blob is open any more."""
    data_dir = workers.data_dir
    async with asyncio.timeout(30):
        while True:
            found = {
                process: descriptors(process.pid, data_dir)
                for process in processes(workers.service.process.pid)
            }
            if found == is_settled:
                return found
            await asyncio.sleep(0.1)


async def test_a_crowd_gets_right_bytes_only_and_leaves_nothing_open(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    offer = Offer(tree)
    offer.republish()
    async with run_workers(tmp_path, mirror, settings=SETTINGS) as workers:
        crowd = Crowd(workers.service.base, mirror.mount, offer)
        await crowd_comes(crowd, offer, origin, visits=15)
        print(crowd.findings)
        for p in processes(workers.service.process.pid):
            print(p, descriptors(p.pid, workers.data_dir), thread_count(p.pid))
        await asyncio.sleep(2)
        for p in processes(workers.service.process.pid):
            print(p, descriptors(p.pid, workers.data_dir), thread_count(p.pid))
        await crowd_comes(crowd, offer, origin, visits=15)
        await asyncio.sleep(2)
        print(crowd.findings)
        for p in processes(workers.service.process.pid):
            print(p, descriptors(p.pid, workers.data_dir), thread_count(p.pid))
        assert 0

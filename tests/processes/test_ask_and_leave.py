"""Thousands of clients that ask for cold items and leave cost a worker little, and the others nothing."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
from support.exchange import read
from support.origin import Origin
from support.tree import SignedTree
from support.workers import Workers, run_workers
from yarl import URL

from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
ASKED = 3000
AT_ONCE = 200
MIB = 1024 * 1024


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - names are not needed


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


async def ask(url: URL) -> socket.socket:
    loop = asyncio.get_running_loop()
    one = socket.socket()
    one.setblocking(False)
    await loop.sock_connect(one, (str(url.host), int(url.port or 0)))
    await loop.sock_sendall(one, f"GET {url.raw_path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return one


async def told(workers: Workers, **expected: int) -> dict[str, int]:
    """Return the figures of transfers once they are so."""
    async with asyncio.timeout(30):
        while True:
            stats = await read(URL(f"{workers.service.base}/-/stats"))
            figures: dict[str, int] = json.loads(stats.body)["transfers"]
            if expected.items() <= figures.items():
                return figures
            await asyncio.sleep(0.1)


async def test_asking_for_thousands_of_items_and_leaving_costs_little(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    items = [tree.add_item(PRODUCT, str(number), "squashfs", size=2048) for number in range(ASKED)]
    held = tree.add_item(PRODUCT, "held", "squashfs", size=2048)
    tree.publish()
    async with run_workers(tmp_path, mirror, workers=1) as workers:
        (pid,) = workers.pids
        assert (await read(workers.url(held.path))).body == held.read()
        origin.gate("com.ubuntu.maas/*")
        before = descriptors(pid), resident_bytes(pid)
        most_descriptors = most_bytes = 0
        for start in range(0, ASKED, AT_ONCE):
            batch = items[start : start + AT_ONCE]
            askers = await asyncio.gather(*(ask(workers.url(one.path)) for one in batch))
            if not start:
                await origin.arrived("com.ubuntu.maas/*", 100)
            for asker in askers:
                asker.close()
            most_descriptors = max(most_descriptors, descriptors(pid))
            most_bytes = max(most_bytes, resident_bytes(pid))
            assert (await read(workers.url(held.path))).cache_status == "hit"
        # One client's share of the places, four descriptors for each, and the clients of the moment.
        assert most_descriptors - before[0] < 128 * 4 + 2 * AT_ONCE
        assert most_bytes - before[1] < 64 * MIB
        figures = await told(workers, running=0, waiting=0)
        assert descriptors(pid) - before[0] < 16
        assert figures["let_go"] >= 100
        assert not list((workers.data_dir / "incoming").iterdir())


async def test_who_follows_another_worker_keeps_what_nobody_waits_for_there(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """The transfer goes on where it was begun, also before its first byte."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB)
    tree.publish()
    gate = origin.gate(item.path)
    async with run_workers(tmp_path, mirror) as workers:
        first, second = workers.pids
        (leaver,) = await workers.ask(first, item.path)
        await origin.arrived(item.path)
        (stayer,) = await workers.ask(second, item.path)
        await told(workers, running=2, waiting=0)
        await leaver.leave()
        # Longer than a transfer waits for its first byte without a client.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.2):
                await stayer.begin()
        assert workers.filler(item.digest) == first
        gate.open()
        assert (await stayer.rest()).body == item.read()
    assert origin.count(item.path) == 1

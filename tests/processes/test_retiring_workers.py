"""What a worker that others succeed does with the connections it has: none may be left without an answer."""

import asyncio
import signal
from pathlib import Path

from support.process_tree import descriptors
from support.tree import SignedTree
from support.workers import Workers, ended, frozen, run_workers

from proxy.mirror import Mirror

INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


def publish(tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.publish()


async def reload(workers: Workers) -> None:
    workers.service.process.send_signal(signal.SIGHUP)
    await workers.log.seen("worker.draining", len(workers.pids))


async def connect_silently(workers: Workers) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection that the first worker has accepted, and on which nothing was asked yet."""
    first, *others = workers.pids
    before = descriptors(first, workers.data_dir)["socket"]
    url = workers.url("")
    with frozen(others):
        streams = await asyncio.open_connection(url.host, url.port)
        async with asyncio.timeout(20):
            while descriptors(first, workers.data_dir)["socket"] <= before:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    return streams


async def test_idle_clients_are_hung_up_on_so_that_they_ask_the_next_worker(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    publish(tree)
    async with run_workers(tmp_path, mirror) as workers:
        before = workers.pids
        idle = [client for pid in before for client in await workers.ask(pid, INDEX)]
        for client in idle:
            assert (await client.rest()).status == 200

        await reload(workers)
        for client in idle:
            async with asyncio.timeout(20):
                assert await client.begin() == 0
        for pid in before:
            await ended(pid)


async def test_a_client_that_has_connected_before_the_reload_is_answered_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """It cannot know that a new connection is dead: nobody repeats a first request."""
    publish(tree)
    async with run_workers(tmp_path, mirror) as workers:
        before = workers.pids
        reader, writer = await connect_silently(workers)
        await reload(workers)

        writer.write(f"GET {workers.url(INDEX).raw_path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        async with asyncio.timeout(20):
            reply = await reader.read()
        writer.close()

        assert reply.startswith(b"HTTP/1.1 200 ")
        assert reply.endswith((tree.root / INDEX).read_bytes())
        for pid in before:
            await ended(pid)


async def test_a_client_that_never_asks_does_not_keep_a_retired_worker(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    publish(tree)
    async with run_workers(tmp_path, mirror) as workers:
        before = workers.pids
        reader, writer = await connect_silently(workers)
        await reload(workers)
        async with asyncio.timeout(20):
            assert await reader.read() == b""
        writer.close()
        for pid in before:
            await ended(pid)

"""Several workers on one port: they share fills, survive each other, and stop as they should."""

import asyncio
import fcntl
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.exchange import Exchange, read
from support.faults import Fault
from support.origin import Origin
from support.tree import SignedTree, TreeItem
from support.workers import ended, run_workers

from proxy.mirror import Mirror

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
NO_RESERVE = '[feed]\nreserve = "0 B"\n'
"""What has arrived, but for the end, is with the clients."""
IN_ONE_PART = "[upstream]\nconnections_per_item = 1\n"
"""Of a slow item further parts are requested beside the first; a busy machine makes any item slow."""


def publish_item(tree: SignedTree, size: int) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=size)
    tree.publish()
    return item


async def is_right(exchange: Exchange, expected: bytes) -> bool:
    """Read a reply to its end, comparing instead of keeping it."""
    await exchange.begin()
    while not exchange.is_over:
        at = exchange.received_bytes
        data = await exchange.more(is_kept=False)
        if data != expected[at : at + len(data)]:
            return False
    return exchange.status == 200 and exchange.received_bytes == len(expected)


async def test_fifty_clients_of_two_workers_cause_one_origin_request(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 64 * MIB)
    expected = item.read()
    async with run_workers(tmp_path, mirror, settings=IN_ONE_PART) as workers:
        first, second = workers.pids
        clients = await workers.connect(first, 25) + await workers.connect(second, 25)
        for client in clients:
            await client.send(workers.url(item.path))

        replies = await asyncio.gather(*(is_right(client, expected) for client in clients))

    assert replies == [True] * 50
    assert origin.count(item.path) == 1


async def test_workers_share_the_cpus_for_what_arrives(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """In each of them as many threads as the machine has CPUs would only get into each other's way."""
    items = [
        tree.add_item(f"{PRODUCT}:{number}", "20250718", "squashfs", size=4 * MIB) for number in range(6)
    ]
    tree.publish()
    async with run_workers(tmp_path, mirror) as workers:
        one, _ = workers.pids
        clients = await workers.connect(one, len(items))
        for client, item in zip(clients, items, strict=True):
            await client.send(workers.url(item.path))
        assert all(
            await asyncio.gather(
                *(is_right(*pair) for pair in zip(clients, map(TreeItem.read, items), strict=True))
            )
        )

        assert 1 <= nicer_threads(one) <= max(1, len(os.sched_getaffinity(0)) // 2)


def nicer_threads(pid: int) -> int:
    """Return how many threads of a process let its others have the CPU first."""
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(os.getpriority(os.PRIO_PROCESS, one) > os.getpriority(os.PRIO_PROCESS, pid) for one in threads)


async def test_a_worker_that_is_killed_while_it_fills_is_succeeded_by_another(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Its own clients are cut; those of the other get every byte, and upstream only sends the rest."""
    item = publish_item(tree, 16 * MIB)
    origin.fault(item.path, Fault(stall_after=8 * MIB), times=1)
    async with run_workers(tmp_path, mirror, settings=NO_RESERVE) as workers:
        doomed, other = workers.pids
        (victim,) = await workers.ask(doomed, item.path)
        assert await victim.begin() == 200
        survivors = await workers.ask(other, item.path, 5)
        for survivor in survivors:
            assert await survivor.begin() == 200
        for one in (victim, *survivors):
            await one.received(8 * MIB)
        assert workers.filler(item.digest) == doomed

        os.kill(doomed, signal.SIGKILL)
        replies = [await one.rest() for one in survivors]

        assert all(reply.is_complete and reply.body == item.read() for reply in replies)
        assert not (await victim.rest()).is_complete
        await workers.log.seen("worker.ready", 3)
        assert len(workers.pids) == 2
        assert doomed not in workers.pids
        (newcomer,) = [pid for pid in workers.pids if pid != other]
        (late,) = await workers.ask(newcomer, item.path)
        assert (await late.rest()).cache_status == "hit"
    first, second = origin.gets(item.path)
    assert "Range" not in first.headers
    assert second.headers["Range"] == f"bytes={8 * MIB}-"
    assert second.sent_bytes == 8 * MIB


async def test_what_a_dead_worker_called_proved_is_not_believed_while_another_reopens_it(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """A power cut may keep a file's length and mode, and lose the bytes of its end."""
    item = publish_item(tree, 2 * MIB)
    right = item.read()
    async with run_workers(tmp_path, mirror) as workers:
        partial = workers.data_dir / "incoming" / item.digest
        partial.write_bytes(right[: -256 * KIB] + bytes(256 * KIB))
        partial.chmod(0o444)
        with partial.open("rb") as reopened:
            # As a worker does first, before it makes the file writable and hashes it.
            fcntl.flock(reopened, fcntl.LOCK_EX)
            clients = [client for pid in workers.pids for client in await workers.ask(pid, item.path, 2)]
            for client in clients:
                assert await client.begin() == 200
                await client.received(MIB)
        replies = [await client.rest() for client in clients]

        assert all(reply.body == right for reply in replies if reply.is_complete)
        (late,) = await workers.ask(workers.pids[0], item.path)
        assert (await late.rest()).body == right
    assert not partial.exists()


async def test_wrong_bytes_reach_nobody_in_full_whichever_worker_serves(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """The failure of one worker's fill is that of the other's readers, and both remember it."""
    item = publish_item(tree, 4 * MIB)
    right = item.read()
    tree.write(item.path, right[:1000] + b"?" + right[1001:])
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        first, second = workers.pids
        clients = await workers.ask(first, item.path, 3) + await workers.ask(second, item.path, 3)
        for client in clients:
            assert await client.begin() == 200
        stall.remove()
        replies = [await client.rest() for client in clients]

        assert not any(reply.is_complete for reply in replies)
        assert all(len(reply.body) <= 4 * MIB - 64 * KIB for reply in replies)
        assert not list(workers.data_dir.rglob(item.digest))
        asked = origin.count(item.path)
        assert asked <= 2
        for pid in (first, second):
            (late,) = await workers.ask(pid, item.path)
            assert (await late.rest()).status == 0
    assert origin.count(item.path) == asked


async def test_a_new_generation_is_served_by_all_workers_at_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """No client can go back in time by reaching another worker."""
    publish_item(tree, 1000)
    async with run_workers(tmp_path, mirror, settings='[freshness]\nfresh_for = "500ms"') as workers:
        old = (tree.root / INDEX).read_bytes()
        clients = [(await workers.connect(pid))[0] for pid in workers.pids]
        for client in clients:
            await client.send(workers.url(INDEX))
            assert (await client.rest()).body == old

        added = tree.add_item(PRODUCT, "20250801", "squashfs", size=1000)
        tree.publish()
        await workers.log.seen("generation.accepted", 2)

        new = (tree.root / INDEX).read_bytes()
        for client in clients:
            await client.send(workers.url(INDEX))
            assert (await client.rest()).body == new
        others = await asyncio.gather(*(read(workers.url(INDEX)) for _ in range(100)))
        assert {reply.body for reply in others} == {new}
        for client in clients:
            await client.send(workers.url(added.path))
            assert (await client.rest()).body == added.read()
    assert len(workers.log.having("generation.accepted")) == 2


# A full disk


async def test_a_full_disk_is_not_seen_by_the_clients_of_any_worker(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=MIB), times=1)
    async with run_workers(tmp_path, mirror) as workers:
        await read(workers.url(INDEX))
        limit_file_size(workers.pids, 2 * MIB)
        first, second = workers.pids
        clients = await workers.ask(first, item.path, 2) + await workers.ask(second, item.path, 2)
        for client in clients:
            assert await client.begin() == 200
        stall.remove()
        replies = [await client.rest() for client in clients]

        assert all(reply.is_complete and reply.body == item.read() for reply in replies)
        assert not list(workers.data_dir.rglob(item.digest))

        limit_file_size(workers.pids, resource.RLIM_INFINITY)
        assert (await read(workers.url(item.path))).cache_status == "fwd=uri-miss; stored"


async def test_a_disk_that_takes_not_one_byte_is_not_seen_by_clients(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """Neither blobs nor the ledger can be written; what is held already is served as ever."""
    item = publish_item(tree, MIB)
    held = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=MIB)
    absent = tree.add_item(PRODUCT, "20250718", "boot-initrd", size=MIB)
    tree.publish()
    absent.data_path.unlink()
    async with run_workers(tmp_path, mirror) as workers:
        await read(workers.url(held.path))
        limit_file_size(workers.pids, 0)

        passed = [await read(workers.url(item.path)) for _ in range(4)]

        assert all(reply.is_complete and reply.body == item.read() for reply in passed)
        assert {reply.cache_status for reply in passed} == {"fwd=uri-miss; detail=not-stored"}
        assert (await read(workers.url(held.path))).body == held.read()
        assert (await read(workers.url(INDEX))).status == 200
        assert (await read(workers.url(absent.path))).status in {0, 200, 404}
        limit_file_size(workers.pids, resource.RLIM_INFINITY)
        assert (await read(workers.url(item.path))).cache_status == "fwd=uri-miss; stored"


def limit_file_size(pids: list[int], size_bytes: int) -> None:
    """Let processes write no file beyond a size: to them, the disk is full."""
    for pid in pids:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size_bytes, resource.RLIM_INFINITY))


# Stopping


async def test_sigterm_lets_running_replies_end(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Cold ones, too: the fill goes on while they are drained."""
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        clients = [(await workers.ask(pid, item.path))[0] for pid in workers.pids]
        for client in clients:
            await client.begin()
        workers.service.process.send_signal(signal.SIGTERM)
        await workers.log.seen("worker.draining", 2)
        stall.remove()

        replies = [await client.rest() for client in clients]

        assert all(reply.is_complete and reply.body == item.read() for reply in replies)
        assert await asyncio.to_thread(workers.service.process.wait, 20) == 0
    assert origin.count(item.path) == 1
    assert not workers.log.having("Traceback")


@pytest.mark.parametrize("patience", ["200ms", "0s"])
async def test_replies_that_do_not_end_in_time_are_cut_and_their_fill_is_resumed_later(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, patience: str
) -> None:
    settings = f'{NO_RESERVE}[clients]\ndrain_timeout = "{patience}"\n'
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror, settings=settings) as workers:
        (client,) = await workers.ask(workers.pids[0], item.path)
        await client.begin()
        await client.received(2 * MIB)

        assert await asyncio.to_thread(workers.service.stop) == 0
        assert not (await client.rest()).is_complete
        await workers.log.seen("worker.stopped", 2)
    stall.remove()
    (tmp_path / "log").unlink()
    async with run_workers(tmp_path, mirror) as workers:
        assert (await read(workers.url(item.path))).body == item.read()
    assert [request.headers.get("Range") for request in origin.gets(item.path)] == [
        None,
        f"bytes={2 * MIB}-",
    ]


async def test_workers_end_with_their_supervisor_however_it_dies(tmp_path: Path, mirror: Mirror) -> None:
    """Nobody would replace or stop them any more, and they would keep the port."""
    async with run_workers(tmp_path, mirror) as workers:
        pids = workers.pids
        workers.service.process.kill()

        for pid in pids:
            await ended(pid)

        port = int(workers.service.base.rpartition(":")[2])
        with socket.create_server(("127.0.0.1", port)):
            pass
    assert len(pids) == 2


async def test_a_worker_that_dies_idle_is_replaced(tmp_path: Path, mirror: Mirror) -> None:
    async with run_workers(tmp_path, mirror) as workers:
        first, second = workers.pids
        os.kill(first, signal.SIGTERM)
        await workers.log.seen("worker.ready", 3)

        assert second in workers.pids
        assert len(workers.pids) == 2


# Starting


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a service that should not start."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", "serve", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_port_in_use_is_told_plainly(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        ended_with = serve("--listen", address, "--data-dir", str(tmp_path / "data"))

    assert ended_with.returncode == 1
    assert f"cannot listen on {address}" in ended_with.stderr
    assert "--listen" in ended_with.stderr
    assert "Traceback" not in ended_with.stderr
    assert ended_with.stdout == ""


def test_a_bad_configuration_is_told_with_all_its_faults(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        'listen = ["nonsense"]\nworkers = 0\ncolour = "red"\n'
        '[cache]\nlimit = "much"\n[feed]\ndrip_interval = "-1s"\n'
        '[[mirror]]\nname = "x"\nmount = "no-slash"\n'
        'origins = ["ftp://example.org/"]\nkeyring = "/none.gpg"\n'
    )

    ended_with = serve("--config", str(config))

    assert ended_with.returncode == 2
    keys = ["listen[0]", "workers", "colour", "cache.limit", "feed.drip_interval"]
    for key in [*keys, 'mirror "x": mount', 'mirror "x": origins[0]', 'mirror "x": keyring']:
        assert f": {key}:" in ended_with.stderr, key
    assert "Traceback" not in ended_with.stderr


@pytest.mark.parametrize("what", ["config", "data"])
def test_what_cannot_be_used_at_the_start_is_told_plainly(tmp_path: Path, what: str) -> None:
    """A configuration that is not there, a data directory that is a file."""
    (tmp_path / "data").write_text("in the way\n")
    arguments = ["--config", str(tmp_path / "none.toml")] if what == "config" else []

    ended_with = serve("--listen", "127.0.0.1:0", "--data-dir", str(tmp_path / "data"), *arguments)

    assert ended_with.returncode == 2
    assert str(tmp_path)[:60] in ended_with.stderr  # A value of the configuration is cut after 80 letters.
    assert "Traceback" not in ended_with.stderr

"""The service as systemd and its administrator see it: reload, stop, notification, handed-over sockets."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.serving import write_config
from support.tree import SignedTree, TreeItem
from support.workers import Workers, ended, run_workers
from yarl import URL

from proxy.mirror import Mirror

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
CLIENTS = 20


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * MIB)
    tree.publish()
    return item


async def begin_transfers(workers: Workers, item: TreeItem) -> list[Exchange]:
    """Return replies that have begun and cannot end: their origin stalls."""
    per_worker = CLIENTS // len(workers.pids)
    running = [one for pid in workers.pids for one in await workers.ask(pid, item.path, per_worker)]
    for one in running:
        assert await one.begin() == 200
    return running


async def test_a_reload_takes_over_without_dropping_a_transfer(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        running = await begin_transfers(workers, item)
        before = workers.pids
        write_config(tmp_path, mirror, replace(mirror, name="second", mount="/second/"))

        workers.service.process.send_signal(signal.SIGHUP)
        await workers.log.seen("worker.draining", 2)
        async with Exchange(URL(f"{workers.service.base}/second/{INDEX}")) as newcomer:
            served = (await newcomer.rest()).status
        assert all(pid in _alive(before) for pid in before)
        stall.remove()
        replies = [await one.rest() for one in running]
        for pid in before:
            await ended(pid)

        assert served == 200
        assert [reply.body == item.read() and reply.is_complete for reply in replies] == [True] * CLIENTS
        assert not set(before) & set(workers.pids)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ("[cache]\nlimit = 'a lot'\n", "cache.limit"),
        ("[tls]\ncertificate = 'no.pem'\nkey = 'no.key'\n", "there is no file"),
        ("workers = ", "no valid TOML"),
    ],
)
async def test_a_faulty_configuration_changes_nothing_and_says_why(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, settings: str, told: str
) -> None:
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        running = await begin_transfers(workers, item)
        before = workers.pids
        write_config(tmp_path, mirror, settings=settings)

        workers.service.process.send_signal(signal.SIGHUP)
        await workers.log.seen("config.rejected")
        stall.remove()
        replies = [await one.rest() for one in running]

        assert any(told in line for line in workers.log.having("config.rejected"))
        assert workers.pids == before
        assert all(reply.is_complete for reply in replies)


async def test_processes_that_do_not_come_to_life_replace_nobody(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    async with run_workers(tmp_path, mirror) as workers:
        before = workers.pids
        elsewhere = tmp_path / "other"
        (elsewhere / "boards").mkdir(parents=True)
        (elsewhere / "boards" / mirror.name).mkdir()  # Where a file has to be.
        config = tmp_path / "config.toml"
        config.write_text(config.read_text().replace(str(tmp_path / "data"), str(elsewhere)))

        workers.service.process.send_signal(signal.SIGHUP)
        await workers.log.seen("config.rejected")
        async with Exchange(workers.url(item.path)) as client:
            reply = await client.rest()
        async with asyncio.timeout(20):
            while workers.pids != before:  # noqa: ASYNC110 - nothing tells when the others have ended
                await asyncio.sleep(0.05)

        assert reply.body == item.read()


async def test_a_stop_lets_twenty_transfers_end(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        running = await begin_transfers(workers, item)

        workers.service.process.send_signal(signal.SIGTERM)
        await workers.log.seen("worker.draining", 2)
        stall.remove()
        replies = [await one.rest() for one in running]

        assert [reply.body == item.read() for reply in replies] == [True] * CLIENTS
        assert await asyncio.to_thread(workers.service.process.wait, 20) == 0


async def test_a_second_signal_stops_at_once(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror) as workers:
        running = await begin_transfers(workers, item)
        workers.service.process.send_signal(signal.SIGTERM)
        await workers.log.seen("worker.draining", 2)

        workers.service.process.send_signal(signal.SIGTERM)
        replies = [await one.rest() for one in running]
        await asyncio.to_thread(workers.service.process.wait, 20)

        assert not any(reply.is_complete for reply in replies)


async def test_a_stop_ends_the_patience_of_a_reload(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Replies that still run from before the reload get no more than the time to drain."""
    origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_workers(tmp_path, mirror, settings='[clients]\ndrain_timeout = "300ms"\n') as workers:
        running = await begin_transfers(workers, item)
        workers.service.process.send_signal(signal.SIGHUP)
        await workers.log.seen("config.accepted")

        workers.service.process.send_signal(signal.SIGTERM)
        replies = [await one.rest() for one in running]

        assert await asyncio.to_thread(workers.service.process.wait, 20) == 0
        assert not any(reply.is_complete for reply in replies)


async def test_a_killed_keeper_is_replaced(tmp_path: Path, mirror: Mirror) -> None:
    async with run_workers(tmp_path, mirror) as workers:
        await workers.log.seen("keeper.ready")
        (line,) = workers.log.having("keeper.ready")
        os.kill(int(line.rpartition("pid=")[2]), signal.SIGKILL)
        await workers.log.seen("keeper.ready", 2)
        await workers.log.seen("child.died name=sstream-keeper")


# systemd


@contextmanager
def notify_socket(folder: Path) -> Iterator[tuple[Path, socket.socket]]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        path = folder / "notify"
        one.bind(str(path))
        one.settimeout(20)
        yield path, one


def heard(one: socket.socket, word: str) -> str:
    """Return the next message with a word."""
    while word not in (message := one.recv(4096).decode()):
        pass
    return message


async def test_systemd_is_told_of_start_reload_life_and_stop(tmp_path: Path, mirror: Mirror) -> None:
    config = write_config(tmp_path, mirror)
    with notify_socket(tmp_path) as (path, one):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            env={**os.environ, "NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        ready = await asyncio.to_thread(heard, one, "READY=1")
        for _ in range(2):
            await asyncio.to_thread(heard, one, "WATCHDOG=1")
        process.send_signal(signal.SIGHUP)
        reloading = await asyncio.to_thread(heard, one, "RELOADING=1")
        await asyncio.to_thread(heard, one, "READY=1")
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(heard, one, "STOPPING=1")

        assert await process.wait() == 0
    assert "STATUS=1 workers on 127.0.0.1:" in ready
    assert "MONOTONIC_USEC=" in reloading


async def test_sockets_of_systemd_are_served(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    tree.publish()
    config = write_config(tmp_path, mirror)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        command = f'exec 3<&{listener.fileno()}; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@"'
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command, "bash", sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            pass_fds=[listener.fileno()],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    assert process.stdout is not None
    banner = [await process.stdout.readline() for _ in range(2)]
    async with Exchange(URL(f"http://127.0.0.1:{port}{mirror.mount}{INDEX}")) as client:
        reply = await client.rest()
    process.send_signal(signal.SIGTERM)
    await process.communicate()

    assert f"127.0.0.1:{port}".encode() in banner[1]
    assert reply.status == 200
    assert process.returncode == 0


def _alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]

"""The log of the service: complete when it ends, and nobody waits for whoever reads it."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from support.origin import Origin
from support.running import MOUNT
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.counting.totals import read_totals
from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
MANY = 6000
"""Requests whose lines are more than a pipe and the writer have room for."""
EVENT = re.compile(rb"[-\d]{10} [:\d]{8} (DEBUG|INFO|WARNING|ERROR) +\S+")


@pytest.fixture
def item(tree: SignedTree, origin: Origin) -> TreeItem:  # noqa: ARG001 - it serves the tree
    """Publish one small item."""
    item = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=4096)
    tree.publish()
    return item


class Running:
    """`sstream-proxy serve` with a standard error of the test's choice."""

    def __init__(
        self, config: Path, stderr: int, env: dict[str, str] | None = None, command: tuple[str, ...] = ()
    ) -> None:
        self.process = subprocess.Popen(
            [*command, sys.executable, "-m", "proxy", "serve", "--config", str(config)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **(env or {})},
        )
        assert self.process.stdout is not None
        banner = iter(self.process.stdout.readline, "")
        self.base = next(line.split()[-1] for line in banner if "listening on" in line)

    def stop(self) -> int:
        assert self.process.stdout is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(30)
        finally:
            self.process.kill()
            self.process.stdout.close()


async def ask(base: str, path: str, times: int) -> float:
    """Ask for an item so often; return how long the slowest answer took."""
    slowest = 0.0
    async with aiohttp.ClientSession() as session:
        for _ in range(times):
            began = time.monotonic()
            async with session.get(f"{base}{MOUNT}{path}") as reply:
                assert reply.status == 200
                await reply.read()
            slowest = max(slowest, time.monotonic() - began)
    return slowest


async def dropped(base: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(f"{base}/-/stats") as reply:
        return int((await reply.json())["log"]["dropped_lines"])


async def told(systemd: socket.socket, news: str) -> None:
    """Return when the supervisor has told something."""
    async with asyncio.timeout(20):
        while news not in (await asyncio.get_running_loop().sock_recv(systemd, 4096)).decode():
            pass


def requests_in(lines: list[bytes]) -> list[bytes]:
    return [line for line in lines if b" request client=" in line and b"/-/" not in line]


async def test_every_request_has_its_line_when_the_service_has_ended(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    """Also those that ended a moment before, in a worker that is told to stop."""
    log = tmp_path / "stderr"
    with log.open("ab") as stderr:
        running = Running(write_config(tmp_path, mirror), stderr.fileno())
        await ask(running.base, item.path, 500)
        assert running.stop() == 0
    lines = log.read_bytes().splitlines()
    assert len(requests_in(lines)) == 500
    assert len({line.rpartition(b"id=")[2] for line in requests_in(lines)}) == 500
    assert all(map(EVENT.match, lines))
    assert sum(b"worker.stopped" in line for line in lines) == 1


async def test_every_request_that_the_end_cuts_has_its_line(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    """One reply stands in its middle, for its client reads no more; another has not begun."""
    half = tree.add_item(PRODUCT, "20250718", "squashfs", size=32 * 1024 * 1024)
    held = tree.add_item(PRODUCT, "20250718", "boot-initrd")
    tree.publish()
    gate = origin.gate(held.path)
    config = write_config(tmp_path, mirror, settings='[clients]\ndrain_timeout = "100ms"\n')
    async with run_service(config) as service:
        await ask(service.base, half.path, 1)
        async with Wire.to(service.base) as reading, Wire.to(service.base) as waiting:
            await reading.send(request(MOUNT + half.path))
            await reading.reader.readexactly(1024)
            await waiting.send(request(MOUNT + held.path))
            await gate.waiting(1)
            assert await asyncio.to_thread(service.stop) == 0
    lines = service.log().splitlines()
    [read] = [line for line in lines if " request " in line and f"{half.path} " in line][1:]
    [unread] = [line for line in lines if " request " in line and f"{held.path} " in line]
    assert re.search(r" status=200 outcome=error bytes=[1-9]\d* .* aborted=no ", read)
    assert re.search(r" status=0 outcome=error bytes=0 .* aborted=no ", unread)
    assert len([line for line in lines if " reply.cut " in line and "drain_timeout" in line]) == 2
    totals = await asyncio.to_thread(read_totals, tmp_path / "data" / "stats")
    assert totals.mirrors["test"].total()["requests error"] == 2
    assert totals.cuts.total()["other"] == 2


async def test_clients_never_wait_for_a_log_that_nobody_reads(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    """Nor does the supervisor: it reloads and stops; what was dropped is told, and counted."""
    read_end, write_end = os.pipe()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        running = Running(
            write_config(tmp_path, mirror), write_end, {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        )
        os.close(write_end)
        await told(systemd, "READY=1")
        assert await ask(running.base, item.path, MANY) < 2
        stats = await dropped(running.base)
        assert 0 < stats < MANY
        (tmp_path / "config.toml").write_text("nonsense = 1\n")
        running.process.send_signal(signal.SIGHUP)
        await told(systemd, "RELOADING=1")
        await told(systemd, "READY=1")  # So the supervisor has logged what was wrong, and goes on.
    assert await ask(running.base, item.path, 10) < 2

    lines: list[bytes] = []
    reading = threading.Thread(target=lambda: lines.extend(all_of(read_end)))
    reading.start()
    assert running.stop() == 0
    reading.join()
    noted = sum(int(line.rpartition(b"=")[2]) for line in lines if b"log.dropped lines=" in line)
    assert stats <= noted
    assert MANY + 10 <= len(requests_in(lines)) + noted <= MANY + 20
    assert any(b"config.rejected" in line for line in lines)
    assert all(map(EVENT.match, lines))


async def test_a_service_whose_log_nobody_reads_ends_when_it_is_told_to(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    read_end, write_end = os.pipe()
    running = Running(write_config(tmp_path, mirror), write_end)
    os.close(write_end)
    await ask(running.base, item.path, MANY // 4)
    began = time.monotonic()
    assert running.stop() == 0
    assert time.monotonic() - began < 10
    os.close(read_end)


async def test_clients_are_served_when_the_reader_of_the_log_has_gone(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    read_end, write_end = os.pipe()
    running = Running(write_config(tmp_path, mirror), write_end)
    for fd in (write_end, read_end):
        os.close(fd)
    assert await ask(running.base, item.path, 300) < 2
    assert running.stop() == 0


@pytest.mark.parametrize("form", ["human", "json"])
async def test_every_line_in_the_journal_has_a_priority(
    tmp_path: Path, mirror: Mirror, item: TreeItem, form: str
) -> None:
    ours, theirs = socket.socketpair()
    status = os.fstat(theirs.fileno())
    stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
    config = write_config(tmp_path, mirror, settings=f'[log]\nformat = "{form}"\n')
    running = Running(config, theirs.fileno(), stream)
    theirs.close()
    lines: list[bytes] = []
    reading = threading.Thread(target=lambda: lines.extend(all_of(ours.detach())))
    reading.start()
    await ask(running.base, item.path, 50)
    assert running.stop() == 0
    reading.join()
    assert len([line for line in lines if line.startswith(b"<6>") and b"boot-kernel" in line]) >= 50
    assert [line for line in lines if not re.match(rb"<[3467]>[{2]", line)] == []


async def test_a_service_without_standard_error_serves(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    config = write_config(tmp_path, mirror)
    running = Running(config, subprocess.DEVNULL, command=("sh", "-c", 'exec "$@" 2>&-', "sh"))
    assert await ask(running.base, item.path, 30) < 2
    assert running.stop() == 0


def all_of(fd: int) -> Iterator[bytes]:
    """Yield the lines of a pipe until its end."""
    with os.fdopen(fd, "rb") as pipe:
        yield from pipe.read().splitlines()


async def test_all_processes_log_in_the_form_and_level_that_were_accepted_last(
    tmp_path: Path, mirror: Mirror
) -> None:
    """The supervisor too, which goes on through every reload."""
    log = tmp_path / "stderr"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd, log.open("ab") as stderr:
        systemd.bind(str(tmp_path / "notify"))
        systemd.setblocking(False)
        config = write_config(tmp_path, mirror)
        running = Running(config, stderr.fileno(), {"NOTIFY_SOCKET": str(tmp_path / "notify")})
        await told(systemd, "READY=1")
        write_config(tmp_path, mirror, settings='[log]\nformat = "json"\nlevel = "warning"')
        for text in (config.read_text(), "nonsense = 1\n"):
            config.write_text(text)
            running.process.send_signal(signal.SIGHUP)
            await told(systemd, "RELOADING=1")
            await told(systemd, "READY=1")
        assert running.stop() == 0
    lines = log.read_text().splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [(event["level"], event["event"]) for event in events] == [("error", "config.rejected")]
    assert "config.accepted" not in log.read_text()

"""The operator's pages on listeners of their own: bound, reloaded, handed over by systemd, a local socket."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.running import Service
from support.serving import run_service, write_config
from support.tree import SignedTree
from support.wire import Wire, WireReply, request
from yarl import URL

from proxy.mirror import Mirror

INDEX = "streams/v1/index.sjson"
MIB = 1024 * 1024
PAGES = ("/-/", "/-/health", "/-/ready", "/-/stats", "/-/metrics", "/-/static/dashboard.js", "/-/live")
APART = '[admin]\nlisten = ["localhost:0"]\n'


@pytest.fixture(autouse=True)
def _published(tree: SignedTree) -> None:
    tree.publish()


def admins_base(service: Service) -> str:
    (line,) = (line for line in service.banner.splitlines() if "admins at" in line)
    return line.split("admins at")[1].strip()


async def ask(base: str, target: str, method: str = "GET", **headers: str) -> WireReply:
    async with Wire.to(base) as wire:
        return await wire.ask(target, method, **headers)


async def statuses(base: str, *targets: str) -> list[int]:
    return [(await ask(base, target)).status for target in targets]


async def test_the_operators_pages_are_at_their_own_address_and_nowhere_else(
    tmp_path: Path, mirror: Mirror, origin: Origin
) -> None:
    """In any way to write them; and nothing else is there."""
    async with run_service(write_config(tmp_path, mirror, settings=APART)) as service:
        admins = admins_base(service)
        own = [f"{base}/-/stats" for base in (service.base, service.base.replace("127.0.0.1", "localhost"))]
        hidden = await statuses(service.base, *PAGES, "/-", "/%2D/stats", "/-/api/v1/openapi.json", *own)
        order = await ask(service.base, "/-/api/v1/scrub", "POST", Host="localhost", X_Sstream_Proxy="1")
        welcome = await ask(service.base, "/")
        mirrored = await ask(service.base, mirror.mount + INDEX)

        shown = await statuses(admins, *PAGES)
        others = await statuses(admins, "/", mirror.mount + INDEX, "/nothing", origin.url + INDEX)
        scrub = await ask(
            admins, "/-/api/v1/scrub", "POST", Host="localhost", X_Sstream_Proxy="1", Content_Length="0"
        )

    assert set(hidden) == {404}
    assert order.status in {404, 405}
    assert (welcome.status, mirrored.status) == (200, 200)
    assert b"/-/" not in welcome.body
    assert shown == [200] * len(PAGES)
    assert others == [404] * 4
    assert scrub.status == 200


async def test_a_reload_moves_the_operators_pages(tmp_path: Path, mirror: Mirror) -> None:
    config = write_config(tmp_path, mirror)
    async with run_service(config) as service:
        together = await statuses(service.base, "/-/health", mirror.mount + INDEX)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        write_config(tmp_path, mirror, settings=f'[admin]\nlisten = ["127.0.0.1:{port}"]\n')
        service.process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while "worker.draining" not in service.log():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.05)
        apart = await statuses(service.base, "/-/health", mirror.mount + INDEX)
        admins = await statuses(f"http://127.0.0.1:{port}", "/-/health", mirror.mount + INDEX)

    assert (together, apart, admins) == ([200, 200], [404, 200], [200, 404])


async def test_an_address_in_use_is_said_plainly(tmp_path: Path, mirror: Mirror) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = write_config(tmp_path, mirror, settings=f'[admin]\nlisten = ["{address}"]\n')
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        _, told = await process.communicate()

    assert process.returncode == 1
    assert f"cannot listen on {address}".encode() in told
    assert b"[admin] listen" in told


# Handed over by systemd


@dataclass
class Activated:
    """A service with sockets of systemd."""

    process: asyncio.subprocess.Process
    banner: str


@asynccontextmanager
async def activated(config: Path, names: str, *sockets: socket.socket) -> AsyncIterator[Activated]:
    """Start the service as systemd would, with these sockets under these names."""
    moves = " ".join(f"{3 + index}<&{one.fileno()}" for index, one in enumerate(sockets))
    command = f'exec {moves}; LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={names} exec "$@"'
    with config.with_suffix(".log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", command, "bash", sys.executable, "-m", "proxy", "serve", "--config", str(config)),
            pass_fds=[one.fileno() for one in sockets],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    assert process.stdout is not None
    banner = (await process.stdout.readuntil(b"Point LXD")).decode()
    try:
        yield Activated(process, banner)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await process.communicate()


def high(one: socket.socket) -> socket.socket:
    """Return a socket whose descriptor is out of the way of those that systemd numbers."""
    return socket.socket(fileno=os.dup2(one.detach(), 50 + one.family, inheritable=False))


async def ask_local(path: Path, target: str, method: str = "GET", **headers: str) -> WireReply:
    reader, writer = await asyncio.open_unix_connection(path)
    wire = Wire(reader, writer)
    await wire.send(request(target, method, **headers))
    reply = await wire.reply()
    writer.transport.abort()
    return reply


async def test_systemd_may_hand_over_a_local_socket_for_admins(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may open it is an admin, and only below /-/. A reload changes none of it."""
    monkeypatch.chdir(tmp_path)  # The path of a local socket must be short.
    local = Path("admin.sock")
    config = write_config(tmp_path, mirror, settings='[admin]\nread = "admins"\n')
    listener = high(socket.create_server(str(local), family=socket.AF_UNIX))
    clients = high(socket.create_server(("127.0.0.1", 0)))
    base = f"http://127.0.0.1:{clients.getsockname()[1]}"
    async with activated(config, "admin:sstream-proxy.socket", listener, clients) as service:
        for _ in ("started", "reloaded"):
            assert await statuses(base, mirror.mount + INDEX, "/-/health", "/-/stats") == [200, 404, 404]
            stats = await ask_local(local, "/-/stats")
            absent = await ask_local(local, mirror.mount + INDEX)
            order = await ask_local(local, "/-/api/v1/scrub", "POST", X_Sstream_Proxy="1", Content_Length="0")
            assert json.loads(stats.body)["format"].startswith("sstream-proxy-stats")
            assert (absent.status, order.status) == (404, 200)
            service.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(30):
                while "worker.draining" not in config.with_suffix(".log").read_text():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
    listener.close()
    clients.close()

    assert f"listening on  {base}" in service.banner
    assert "admins at     unix:" in service.banner
    assert service.process.returncode == 0


async def test_what_systemd_does_not_hand_over_is_bound(tmp_path: Path, mirror: Mirror) -> None:
    """Here the clients' port, beside one for admins that is handed over."""
    config = write_config(tmp_path, mirror)
    admins = high(socket.create_server(("127.0.0.1", 0)))
    base = f"http://127.0.0.1:{admins.getsockname()[1]}"
    async with activated(config, "admin", admins) as service:
        (line,) = (line for line in service.banner.splitlines() if "listening on" in line)
        clients = line.split("listening on")[1].strip()
        found = await statuses(base, "/-/health", mirror.mount + INDEX)
        theirs = await statuses(clients, "/-/health", mirror.mount + INDEX)
    admins.close()

    assert (found, theirs) == ([200, 404], [404, 200])


async def test_whoever_connects_to_systemds_port_during_a_stop_is_served_by_the_next_process(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """The kernel keeps the connection for it."""
    item = tree.add_item("com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04", "1", "squashfs", size=4 * MIB)
    tree.publish()
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    config = write_config(tmp_path, mirror)
    listener = high(socket.create_server(("127.0.0.1", 0)))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    async with activated(config, "clients", listener) as first:
        async with Exchange(URL(f"{base}{mirror.mount}{item.path}")) as running:
            assert await running.begin() == 200
            first.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(20):
                while "worker.draining" not in config.with_suffix(".log").read_text():  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            newcomer = asyncio.create_task(ask(base, mirror.mount + INDEX))
            stall.remove()
            assert (await running.rest()).body == item.read()
        assert await first.process.wait() == 0
        assert not newcomer.done()
    async with activated(config, "clients", listener):
        assert (await newcomer).status == 200
    listener.close()

"""Clients that take more than their share: bounded, counted, and of no harm to the others."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror
from proxy.web.client_options import ClientOptions

INDEX = f"{MOUNT}streams/v1/index.sjson"
MIB = 1024 * 1024


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image, larger than what a socket holds."""
    item = tree.add_item("product", "20250718", "squashfs", size=24 * MIB)
    tree.publish()
    return item


@pytest.fixture
async def running(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Callable[..., Any]]:
    """Return how to run a proxy with limits for its clients."""
    async with contextlib.AsyncExitStack() as stack:

        async def run(**limits: Any) -> RunningProxy:
            config = make_config(tmp_path / "data", mirror, clients=ClientOptions(**limits))
            return await stack.enter_async_context(run_proxy(config))

        yield run


async def limits(proxy: RunningProxy) -> dict[str, int]:
    """Return the limits that were met, by `/-/stats`, as `/-/metrics` has them too."""
    async with proxy.session.get(proxy.url("/-/stats")) as response:
        told = (await response.json())["limits"]
    async with proxy.session.get(proxy.url("/-/metrics")) as response:
        text = await response.text()
    for name, count in told.items():
        assert f'sstream_proxy_limits_met_total{{limit="{name}"}} {float(count)}\n' in text
    return {name: count for name, count in told.items() if count}


async def connect(proxy: RunningProxy, address: str) -> socket.socket:
    """Connect from an address of this machine."""
    one = socket.socket()
    one.setblocking(False)
    one.bind((address, 0))
    host, _, port = proxy.base.removeprefix("http://").partition(":")
    await asyncio.get_running_loop().sock_connect(one, (host, int(port)))
    return one


async def test_at_the_limit_idle_connections_make_room(running: Callable[..., Any], item: TreeItem) -> None:
    """Silent ones and those that drip a head; the client that asks is served over each new connection."""
    proxy = await running(connections=16, connections_per_client=1000)
    async with contextlib.AsyncExitStack() as stack:
        idle = [await stack.enter_async_context(Wire.to(proxy.base)) for _ in range(16)]
        for wire in idle[::2]:
            await wire.send(b"GET / HTTP/1.1\r\nX: ")
        for _ in range(20):
            async with Wire.to(proxy.base) as wire:
                assert (await wire.ask(INDEX)).status == 200
        assert await idle[1].rest() == b""
    async with Wire.to(proxy.base) as wire:
        assert (await wire.ask(MOUNT + item.path)).body == item.read()
    assert set(await limits(proxy)) == {"idle_connections"}


async def test_when_all_are_busy_the_next_one_is_told_so(running: Callable[..., Any], item: TreeItem) -> None:
    """503 with the reason, at once, and those that are busy get all their bytes."""
    proxy = await running(connections=16, connections_per_client=1000)
    assert (await proxy.read(item.path)).status == 200
    await proxy.session.close()
    async with contextlib.AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(Wire.to(proxy.base)) for _ in range(16)]
        for wire in busy:
            await wire.send(request(MOUNT + item.path))
            await wire.reader.readexactly(1)
        async with Wire.to(proxy.base) as wire:
            reply = await wire.reply()
            assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
            assert reply.body == b"all 16 connections that this process may have are busy; try again later\n"
            assert await wire.rest() == b""
        async with asyncio.timeout(60):
            for wire in busy:
                received = 1
                while b"\r\n" not in (line := await wire.reader.readline()) or line != b"\r\n":
                    received += len(line)
                assert await wire.reader.readexactly(item.size) == item.read()
    async with Wire.to(proxy.base) as wire:
        assert (await wire.ask(INDEX)).status == 200
        stats = await wire.ask("/-/metrics")
        assert b'limits_met_total{limit="connections"} 1.0\n' in stats.body


async def test_one_address_cannot_take_all_connections(running: Callable[..., Any], item: TreeItem) -> None:
    """The next one from it gets 503; another address is served meanwhile."""
    proxy = await running(connections=1000, connections_per_client=16)
    mine = [await connect(proxy, "127.0.0.9") for _ in range(16)]
    loop = asyncio.get_running_loop()
    try:
        extra = await connect(proxy, "127.0.0.9")
        reply = await loop.sock_recv(extra, 4096)
        extra.close()
        assert reply.startswith(b"HTTP/1.1 503 ")
        assert reply.endswith(b"you already have 16 connections open; try again later\n")
        async with Wire.to(proxy.base) as wire:
            assert (await wire.ask(MOUNT + item.path)).body == item.read()
    finally:
        for one in mine:
            one.close()
    assert await limits(proxy) == {"client_connections": 1}


async def test_two_thousand_idle_connections_hinder_nobody(
    running: Callable[..., Any], item: TreeItem
) -> None:
    """From many addresses, half of them within a head; a client is served, and the idle ones stay."""
    proxy = await running()
    loop = asyncio.get_running_loop()
    idle: list[socket.socket] = []
    try:
        for number in range(2000):
            one = await connect(proxy, f"127.0.{number % 50}.{number // 50 + 2}")
            idle.append(one)
            if number % 2:
                await loop.sock_sendall(one, b"GET / HTTP/1.1\r\nHo")
        async with Wire.to(proxy.base) as wire:
            for _ in range(3):
                assert (await wire.ask(INDEX)).status == 200
                assert (await wire.ask(MOUNT + item.path)).body == item.read()
        for one in idle[1::200]:
            await loop.sock_sendall(one, b"st: a\r\n\r\n")
            assert (await loop.sock_recv(one, 4096)).startswith(b"HTTP/1.1 200 ")
    finally:
        for one in idle:
            one.close()
    assert await limits(proxy) == {}


async def test_half_a_head_is_hung_up_on_in_time_and_counted(
    running: Callable[..., Any], item: TreeItem
) -> None:
    """However it drips in; a silent connection is closed too, and is nothing to be counted."""
    proxy = await running(keepalive_timeout_s=1.0)

    async def drip(wire: Wire) -> None:
        await wire.send(b"GET / HTTP/1.1\r\n")
        while not wire.writer.is_closing() and not wire.reader.at_eof():
            await wire.send(b"X: a\r\n")
            await asyncio.sleep(0.1)

    async with Wire.to(proxy.base) as slow, Wire.to(proxy.base) as silent, Wire.to(proxy.base) as good:
        dripping = asyncio.create_task(drip(slow))
        assert (await good.ask(MOUNT + item.path)).body == item.read()
        assert await slow.rest() == b""
        assert await silent.rest() == b""
        await dripping
    assert await limits(proxy) == {"unfinished_requests": 1}


async def test_a_client_that_takes_nothing_is_cut_off(
    running: Callable[..., Any], item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    """And the image it asked for is held open no longer."""
    caplog.set_level(logging.INFO)
    proxy = await running(stall_timeout_s=1.0)
    await proxy.read(item.path)
    async with Wire.to(proxy.base) as wire:
        assert isinstance(wire.writer.transport, asyncio.Transport)
        wire.writer.transport.pause_reading()
        await wire.send(request(MOUNT + item.path))
        async with asyncio.timeout(30):
            while not any("aborted=yes" in record.getMessage() for record in caplog.records):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    assert [record for record in caplog.records if record.levelname in {"WARNING", "ERROR"}] == []


@pytest.mark.usefixtures("item")
async def test_the_body_of_an_action_is_bounded(
    running: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """413 for a megabyte, 408 for one that does not come; both are counted."""
    monkeypatch.setattr("proxy.web.admin.api._BODY_TIMEOUT_S", 0.2)
    proxy = await running()
    own = {"Host": "localhost", "X-Sstream-Proxy": "1"}
    async with Wire.to(proxy.base) as wire:
        await wire.send(request("/-/api/v1/pin", "POST", Content_Length="3000000", **own) + b" " * 3_000_000)
        assert (await wire.reply()).status == 413
    async with Wire.to(proxy.base) as wire:
        await wire.send(request("/-/api/v1/pin", "POST", Content_Length="100", **own) + b"{")
        assert (await wire.reply()).status == 408
        assert await wire.rest() == b""
    assert await limits(proxy) == {"request_bodies": 2}

"""Old clients, requests that come in pieces or not at all, and clients that leave: nobody else notices."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from support.bad_requests import FOREIGN_METHODS, HARMLESS, MALFORMED, PATHS_OF_NOTHING, assert_works, provoke
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, RunningProxy, Service
from support.serving import run_service, write_config
from support.tree import TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror

KIB = 1024
INDEX = f"{MOUNT}streams/v1/index.sjson"
PRODUCTS = f"{MOUNT}streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


@pytest.fixture
async def service(tmp_path: Path, mirror: Mirror) -> AsyncIterator[Service]:
    """Return the real service, which closes connections after a second without a request."""
    settings = '[clients]\nkeepalive_timeout = "1s"'
    async with run_service(write_config(tmp_path, mirror, settings=settings)) as service:
        yield service


async def abandon(base: str, target: str) -> None:
    """Ask for something longer than a kilobyte, read that much, and hang up."""
    async with Wire.to(base) as wire:
        await wire.send(request(target))
        await wire.reader.readexactly(KIB)


async def test_http_1_0_clients_get_the_whole_and_then_the_end(proxy: RunningProxy, item: TreeItem) -> None:
    """Without Host, without chunks, and without waiting for a next request."""
    for head in (b"GET %s HTTP/1.0\r\n\r\n", b"GET %s HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n"):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head % (MOUNT + item.path).encode())
            reply = await wire.reply()

            assert (reply.status, reply.body) == (200, item.read())
            assert "Transfer-Encoding" not in reply.headers
            assert await wire.rest() == b""


@pytest.mark.usefixtures("item")
async def test_http_1_0_clients_may_keep_the_connection(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        for _ in range(3):
            reply = await wire.ask(INDEX, version="1.0", Connection="keep-alive")
            assert reply.status == 200
            assert reply.headers["Connection"].lower() == "keep-alive"


async def test_pipelined_requests_are_answered_in_order(proxy: RunningProxy, item: TreeItem) -> None:
    """Two hundred in one write: files, parts, absent ones, refused ones."""
    round_ = [
        (request(INDEX), 200),
        (request(MOUNT + item.path, Range="bytes=5-9"), 206),
        (request(f"{MOUNT}nothing"), 404),
        (request(MOUNT + item.path, If_None_Match="*"), 304),
        (request(MOUNT + item.path, Range=f"bytes={item.size}-"), 416),
    ]
    async with Wire.to(proxy.base) as wire:
        await wire.send(b"".join(head for head, _ in round_) * 40)
        statuses = [(await wire.reply()).status for _ in range(200)]

    assert statuses == [status for _, status in round_] * 40


async def test_half_requests_do_no_harm(
    proxy: RunningProxy, quiet_origin: Origin, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    """Cut off at every byte of the head: no answer, no trace in the log."""
    caplog.set_level(logging.WARNING)
    head = request(MOUNT + item.path, Accept="*/*")
    for end in range(len(head)):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head[:end])

    assert quiet_origin.requests == []
    assert caplog.records == []
    await assert_works(proxy.base, item)


async def test_connections_without_a_whole_request_are_closed_in_time(service: Service) -> None:
    """After the configured second here; nobody can hold connections by saying little or nothing."""

    async def wait_after(begun: bytes) -> bytes:
        async with Wire.to(service.base) as wire:
            await wire.send(begun)
            return await wire.rest()

    head = request("/-/health")
    beginnings = [b"", b"G", head[:-1], head.removesuffix(b"\r\n"), b"\r\n\r\n\r\n", head]
    *silences, answer = await asyncio.gather(*map(wait_after, beginnings))

    assert silences == [b""] * 5
    assert answer.endswith(b"ok\n")


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_replies_abandoned_after_a_kilobyte_do_no_harm(
    proxy: RunningProxy,
    origin: Origin,
    item: TreeItem,
    caplog: pytest.LogCaptureFixture,
    is_cold: bool,
) -> None:
    """MAAS up to 3.7 does so with the index. The item is fetched once, to its end, for nobody."""
    caplog.set_level(logging.WARNING)
    if not is_cold:
        await proxy.read(item.path)

    targets = [MOUNT + item.path, INDEX, PRODUCTS] * 20
    await asyncio.gather(*(abandon(proxy.base, target) for target in targets))
    await proxy.fills_ended()

    assert caplog.records == []
    assert (await proxy.read(item.path)).cache_status == "hit"
    assert origin.count(item.path) == 1
    await assert_works(proxy.base, item)


async def test_clients_that_leave_while_the_origin_is_silent_do_no_harm(
    proxy: RunningProxy, origin: Origin, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    """Some before the first byte of the reply, some within it; the download goes on without them."""
    caplog.set_level(logging.WARNING)
    await proxy.read("streams/v1/index.sjson")
    gate = origin.gate(item.path)
    stall = origin.fault(item.path, Fault(stall_after=2 * KIB * KIB), times=1)
    async with AsyncExitStack() as early:
        for _ in range(10):
            wire = await early.enter_async_context(Wire.to(proxy.base))
            await wire.send(request(MOUNT + item.path))
        await gate.waiting(1)
    gate.open()
    async with AsyncExitStack() as late:
        for _ in range(10):
            wire = await late.enter_async_context(Wire.to(proxy.base))
            await wire.send(request(MOUNT + item.path))
            await wire.reader.readexactly(KIB)
        await stall.reached.wait()
    stall.remove()
    await proxy.fills_ended()

    assert caplog.records == []
    assert (await proxy.read(item.path)).body == item.read()
    assert origin.count(item.path) == 1


async def test_none_of_this_fills_the_log(service: Service, origin: Origin, item: TreeItem) -> None:
    """The real service, with its real log: no warning, no error, no traceback, and no 5xx."""
    await assert_works(service.base, item)
    await origin.idle()
    origin.clear()
    provocations = [request(MOUNT + path) for path in PATHS_OF_NOTHING]
    provocations += [request(INDEX, method) for method in FOREIGN_METHODS]
    provocations += [*MALFORMED.values(), *HARMLESS.values()]

    statuses = [await provoke(service.base, data) for data in provocations]
    for end in range(0, 40, 3):
        async with Wire.to(service.base) as wire:
            await wire.send(request(INDEX)[:end])
    await asyncio.gather(*(abandon(service.base, MOUNT + item.path) for _ in range(20)))

    assert [status for status in statuses if status >= 500] == []
    await assert_works(service.base, item)
    assert [line for line in service.log().splitlines() if " INFO " not in line] == []
    assert origin.requests == []

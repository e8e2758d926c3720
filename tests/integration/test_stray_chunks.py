r"""The end-of-chunks marker that MAAS 3.5 and 3.6 send after the head of each image request.

They call aiohttp's client with `chunked=True` for a GET, which then sends `0\r\n\r\n` although it announced
no body. An ordinary server takes that for a malformed second request and answers 400.
"""

import asyncio
import socket
from pathlib import Path

import pytest
from support.origin import Origin
from support.running import RunningProxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror

MARKER = b"0\r\n\r\n"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item(PRODUCT, "20250718", "boot-initrd", size=300_000)
    tree.publish()
    return item


@pytest.fixture
def head(proxy: RunningProxy, item: TreeItem) -> bytes:
    """Return the request for the image, without the marker."""
    return request(proxy.url(item.path).raw_path)


async def assert_goes_on(wire: Wire, head: bytes, item: TreeItem) -> None:
    """Assert that a further request on the connection is answered in full, and that nothing else came."""
    await wire.send(head)
    reply = await wire.reply()
    assert (reply.status, reply.body) == (200, item.read())


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_a_marker_in_the_same_read_is_ignored(
    proxy: RunningProxy, item: TreeItem, head: bytes, is_cold: bool
) -> None:
    if not is_cold:
        await proxy.read(item.path)

    async with Wire.to(proxy.base) as wire:
        await wire.send(head + MARKER)
        reply = await wire.reply()

        assert (reply.status, reply.body) == (200, item.read())
        await assert_goes_on(wire, head, item)


@pytest.mark.parametrize("split", range(len(MARKER) + 1))
async def test_a_marker_is_ignored_wherever_it_is_split(
    proxy: RunningProxy, item: TreeItem, head: bytes, split: int
) -> None:
    """Its first bytes come with the head; the rest comes when the reply has been read already."""
    async with Wire.to(proxy.base) as wire:
        await wire.send(head + MARKER[:split])
        reply = await wire.reply()
        await wire.send(MARKER[split:])

        assert (reply.status, reply.body) == (200, item.read())
        await assert_goes_on(wire, head, item)


async def test_a_marker_is_ignored_byte_by_byte(proxy: RunningProxy, item: TreeItem, head: bytes) -> None:
    """Head and marker in segments of one byte: no boundary between reads matters."""
    async with Wire.to(proxy.base) as wire:
        connection: socket.socket = wire.writer.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in head + MARKER:
            await wire.send(bytes([byte]))
            # Lets the proxy, which runs in the same loop, read it before the next one is sent.
            await asyncio.sleep(0)
        reply = await wire.reply()

        assert (reply.status, reply.body) == (200, item.read())
        await assert_goes_on(wire, head, item)


async def test_a_marker_before_the_next_request_on_the_connection_is_ignored(
    proxy: RunningProxy, item: TreeItem, head: bytes
) -> None:
    """The marker and the following request arrive in one read, again and again."""
    async with Wire.to(proxy.base) as wire:
        await wire.send(head)
        for _ in range(5):
            reply = await wire.reply()
            assert (reply.status, reply.body) == (200, item.read())
            await wire.send(MARKER + head)
        assert (await wire.reply()).body == item.read()


async def test_markers_between_pipelined_requests_are_ignored(
    proxy: RunningProxy, item: TreeItem, head: bytes
) -> None:
    index = request(proxy.url("streams/v1/index.sjson").raw_path)

    async with Wire.to(proxy.base) as wire:
        await wire.send((head + MARKER + index + MARKER) * 3)
        replies = [await wire.reply() for _ in range(6)]

        assert [reply.status for reply in replies] == [200] * 6
        assert [reply.body for reply in replies[::2]] == [item.read()] * 3
        assert len({reply.body for reply in replies[1::2]}) == 1
        await assert_goes_on(wire, head, item)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_marker_after_a_request_for_something_absent_is_ignored(
    proxy: RunningProxy, item: TreeItem, head: bytes, method: str
) -> None:
    async with Wire.to(proxy.base) as wire:
        await wire.send(request(proxy.url("no/such/file").raw_path, method) + MARKER)
        reply = await wire.reply(method)

        assert reply.status == 404
        await assert_goes_on(wire, head, item)


async def test_a_connection_that_is_to_be_closed_delivers_all_bytes_despite_the_marker(
    proxy: RunningProxy, item: TreeItem
) -> None:
    """Closing with the marker unread would reset the connection and lose the end of the image."""
    head = request(proxy.url(item.path).raw_path, Connection="close")
    for _ in range(20):
        async with Wire.to(proxy.base) as wire:
            await wire.send(head + MARKER)
            reply = await wire.reply()

            assert (reply.is_complete, reply.body) == (True, item.read())
            assert await wire.rest() == b""


@pytest.mark.usefixtures("item")
async def test_the_marker_never_reaches_the_origin(proxy: RunningProxy, origin: Origin, head: bytes) -> None:
    async with Wire.to(proxy.base) as wire:
        await wire.send(head + MARKER)
        await wire.reply()

    assert origin.requests
    assert {seen.method for seen in origin.requests} == {"GET"}
    assert {seen.status for seen in origin.requests} <= {
        200,
        304,
        404,
    }  # Entry points of others are looked for.
    assert not any("Transfer-Encoding" in seen.headers for seen in origin.requests)


async def test_only_one_marker_is_dropped(proxy: RunningProxy, item: TreeItem, head: bytes) -> None:
    """What follows is a malformed request, and answered as one."""
    async with Wire.to(proxy.base) as wire:
        await wire.send(head + MARKER)
        assert (await wire.reply()).body == item.read()
        await wire.send(MARKER)
        assert (await wire.reply()).status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"Transfer-Encoding: chunked\r\n\r\n" + MARKER,
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n" + MARKER,
        b"content-length: 5\r\n\r\n" + MARKER,
    ],
    ids=["empty", "chunked", "with a length"],
)
async def test_a_body_that_was_announced_is_no_stray_marker(
    proxy: RunningProxy, item: TreeItem, head: bytes, body: bytes
) -> None:
    """A request's body is read as what it is, and the next request after it is understood."""
    async with Wire.to(proxy.base) as wire:
        await wire.send(head.removesuffix(b"\r\n") + body + head)

        assert [(await wire.reply()).body for _ in range(2)] == [item.read()] * 2


async def test_fifty_maas_regions_at_once_get_every_byte(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """The client library that MAAS 3.5 and 3.6 use, called as they call it."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=100_000) for n in range(5)]
    tree.publish()

    async def download(item: TreeItem) -> bytes:
        async with proxy.get(item.path, chunked=True) as response:
            assert response.status == 200
            return bytes(await response.read())

    bodies = await asyncio.gather(*(download(items[n % 5]) for n in range(50)))

    assert bodies == [items[n % 5].read() for n in range(50)]
    assert [origin.count(item.path) for item in items] == [1] * 5


async def test_a_maas_client_keeps_its_connection(proxy: RunningProxy, item: TreeItem) -> None:
    """Request after request, each with its marker, over one connection."""
    for _ in range(10):
        async with proxy.get(item.path, chunked=True) as response:
            assert await response.read() == item.read()

    connector = proxy.session.connector
    assert connector is not None
    assert len(connector._conns) == 1


async def test_the_real_service_ignores_markers_too(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, item: TreeItem
) -> None:
    """With the event loop of production, which hands received bytes over in its own way."""
    large = tree.add_item(PRODUCT, "20250718", "squashfs", size=8 * 1024 * 1024)
    tree.publish()
    heads = {one.path: request(mirror.mount + one.path) for one in (item, large)}
    async with run_service(write_config(tmp_path, mirror)) as service, Wire.to(service.base) as wire:
        for one in (item, large, large, item):
            for split in range(len(MARKER) + 1):
                await wire.send(heads[one.path] + MARKER[:split])
                reply = await wire.reply()
                await wire.send(MARKER[split:])
                assert (reply.status, reply.body == one.read()) == (200, True)

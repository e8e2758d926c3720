"""Replies that are ready: the same as those that are made anew, and only where they are right."""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply, request

from proxy.counting.client_table import Client, Visit, read_clients
from proxy.recordings.asked import Kind, Request
from proxy.web.log_line import Ended, RequestLog
from proxy.web.wire import connection, direct_socket
from proxy.web.wire.connection import Connection
from proxy.web.wire.direct_socket import DirectSocket
from proxy.web.wire.prepared import RangeReplies, WholeReply
from proxy.web.wire.reply_cache import CachedReply, ReplyCache

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = f"{MOUNT}streams/v1/index.sjson"
LEARNING = 3
"""So many times a request must come before its reply is ready."""


class Slow:
    """Counts the requests that were answered the usual way."""

    def __init__(self, proxy: RunningProxy) -> None:
        self.times = 0
        self._resolve = proxy.cache.delivery.resolve
        proxy.cache.delivery.resolve = self  # type: ignore[method-assign, assignment]

    async def __call__(self, *arguments: Any) -> Any:
        self.times += 1
        return await self._resolve(*arguments)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a small item."""
    item = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=4 * KIB)
    tree.publish()
    return item


@pytest.fixture
async def wire(proxy: RunningProxy, item: TreeItem) -> AsyncIterator[Wire]:
    """Return a connection to a proxy that holds the item."""
    await proxy.read(item.path)
    await proxy.fills_ended()
    async with Wire.to(proxy.base) as wire:
        yield wire


def comparable(reply: WireReply) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return all of a reply but what tells the time."""
    headers = [(name, value) for name, value in reply.headers.items() if name not in {"Date", "Age"}]
    return reply.status, headers, reply.body


async def warm(wire: Wire, head: bytes, method: str = "GET") -> WireReply:
    """Ask until the reply is ready; return the last that was made anew."""
    for _ in range(LEARNING):
        await wire.send(head)
        reply = await wire.reply(method)
    return reply


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "headers",
    [{}, {"Range": "bytes=5-99"}, {"Range": "bytes=9999-"}, {"If_None_Match": '"x"'}, {"X_Anything": "1"}],
    ids=str,
)
@pytest.mark.parametrize("what", ["item", "index"])
async def test_a_ready_reply_is_the_same_to_the_byte(
    proxy: RunningProxy, wire: Wire, item: TreeItem, method: str, headers: dict[str, str], what: str
) -> None:
    head = request(MOUNT + item.path if what == "item" else INDEX, method, **headers)
    made = await warm(wire, head, method)
    slow = Slow(proxy)

    await wire.send(head)
    ready = await wire.reply(method)

    assert slow.times == 0
    assert comparable(ready) == comparable(made)
    assert ready.headers.keys() == made.headers.keys()


async def test_what_ends_the_connection_is_never_ready(
    proxy: RunningProxy, item: TreeItem, wire: Wire
) -> None:
    await warm(wire, request(MOUNT + item.path))
    slow = Slow(proxy)
    for version, headers in (("1.1", {"Connection": "close"}), ("1.0", {})):
        for _ in range(LEARNING + 1):
            async with Wire.to(proxy.base) as other:
                reply = await other.ask(MOUNT + item.path, version=version, **headers)
                assert reply.body == item.read()
                assert await other.rest() == b""
    assert slow.times == 2 * (LEARNING + 1)


async def test_errors_and_misses_are_never_ready(proxy: RunningProxy, wire: Wire) -> None:
    slow = Slow(proxy)
    for _ in range(5):
        assert (await wire.ask(f"{MOUNT}nothing")).status == 404
    assert slow.times == 5


async def test_the_rest_of_a_half_sent_request_is_no_request(wire: Wire, item: TreeItem) -> None:
    """Bytes that are hot by themselves may be the end of another request's header."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await wire.send(request(f"{MOUNT}nothing").removesuffix(b"\r\n") + b"X-Half: ")
    await asyncio.sleep(0.05)  # So that the halves arrive one by one.
    await wire.send(head)

    assert (await wire.reply()).status in {400, 404}


async def test_requests_in_one_piece_are_answered_in_their_order(wire: Wire, item: TreeItem) -> None:
    hot, cold = request(MOUNT + item.path), request(f"{MOUNT}nothing")
    await warm(wire, hot)
    await wire.send(hot + cold + hot)
    statuses = [(await wire.reply()).status for _ in range(3)]
    await wire.send(cold)
    await wire.send(hot)
    statuses += [(await wire.reply()).status for _ in range(2)]
    assert statuses == [200, 404, 200, 404, 200]


async def test_a_stray_marker_after_a_ready_reply_is_dropped(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    """What MAAS 3.5 sends after each image request."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    replies = []
    for _ in range(3):
        await wire.send(head)
        replies.append(await wire.reply())
        await wire.send(b"0\r\n\r\n")
        await asyncio.sleep(0.02)  # So that it comes by itself.
    replies.append(await wire.ask(INDEX))

    assert [reply.status for reply in replies] == [200] * 4
    assert slow.times == 1


async def test_a_new_generation_is_served_at_once(proxy: RunningProxy, wire: Wire, tree: SignedTree) -> None:
    head = request(INDEX)
    before = await warm(wire, head)
    tree.publish()
    await proxy.cache.refresh("test")

    await wire.send(head)
    after = await wire.reply()

    assert after.body != before.body
    assert after.body == (tree.root / "streams/v1/index.sjson").read_bytes()


@pytest.mark.usefixtures("item")
async def test_a_client_that_read_the_old_index_gets_the_lists_that_belong_to_it(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """Also when the new list is ready for everybody else."""
    (listed,) = tree.root.glob("streams/v1/com*.sjson")
    target = f"{MOUNT}streams/v1/{listed.name}"
    await proxy.read(INDEX)
    host, port = proxy.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
    early, old_list = Wire(reader, writer), listed.read_bytes()
    await early.ask(INDEX)
    tree.add_item(PRODUCT, "20250719", "boot-kernel", size=KIB)
    tree.publish()
    await proxy.cache.refresh("test")

    async with Wire.to(proxy.base) as late:
        await late.ask(INDEX)
        fresh = await warm(late, request(target))
        belonging = await early.ask(target)
        await early.ask(INDEX)
        now = await early.ask(target)
    writer.close()

    assert fresh.body == now.body == listed.read_bytes()
    assert belonging.body == old_list


async def test_offline_takes_effect_at_once(proxy: RunningProxy, wire: Wire) -> None:
    head = request(INDEX)
    await warm(wire, head)
    proxy.cache.offline.turn(on=True)
    slow = Slow(proxy)
    await wire.send(head)
    await wire.reply()
    assert slow.times == 1


async def test_every_ready_reply_is_counted(proxy: RunningProxy, wire: Wire, item: TreeItem) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    for _ in range(200):
        await wire.send(head)
        assert (await wire.reply()).status == 200
    hot = 200 - slow.times
    await asyncio.sleep(0.1)  # Counts are gathered for a moment.
    async with proxy.get("/-/stats") as response:
        total = (await response.json())["total"]

    assert hot > 150
    assert total["requests"]["hit"] == 200 + LEARNING
    assert total["sent_bytes"]["hit"] == (200 + LEARNING) * item.size


async def test_every_ready_reply_is_its_clients_own(proxy: RunningProxy, wire: Wire, item: TreeItem) -> None:
    """From two addresses by turns, of which one leaves in the middle of the counting."""
    head = request(MOUNT + item.path, User_Agent="maas/3.4")
    await warm(wire, head)
    host, port = proxy.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
    for _ in range(20):
        writer.write(head)
        received = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(item.size)
        assert b"200 OK" in received
        await wire.send(head)
        await wire.reply("GET")
    writer.close()

    counted: dict[str, Client] = {}
    async with asyncio.timeout(30):
        while sum(one.total for one in counted.values()) < 40 + LEARNING:
            await asyncio.sleep(0.01)
            seen = await asyncio.to_thread(read_clients, proxy.config.data_dir / "stats", proxy.clock())
            counted = {one.address: one for one in seen if one.agent == "maas/3.4"}

    assert counted["127.0.0.2"].requests == {"hit": 20}
    assert counted["127.0.0.2"].hit_bytes == 20 * item.size
    assert counted["127.0.0.1"].path == MOUNT + item.path


async def test_ready_replies_are_logged_like_others(
    wire: Wire, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "proxy.access")
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await wire.send(head)
    await wire.reply()
    lines = [record.getMessage() for record in caplog.records if "boot-kernel" in record.getMessage()]

    def without_time(line: str) -> list[str]:
        return [word for word in line.split() if not word.startswith(("seconds=", "id="))]

    assert len(lines) == LEARNING + 1
    assert len({line.partition(" id=")[2] for line in lines}) == len(lines)
    assert without_time(lines[-1]) == without_time(lines[0])


async def test_a_client_that_does_not_read_is_not_answered_without_end(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    for _ in range(10_000):
        wire.writer.write(head)
        if slow.times:
            break
        await asyncio.sleep(0)
    else:
        pytest.fail("40 MB were queued for a client that does not read")


async def test_replies_are_made_anew_every_second_by_one_request(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await asyncio.sleep(1.1)
    slow = Slow(proxy)
    for _ in range(5):
        await wire.send(head)
        await wire.reply()
    assert slow.times == 1


async def test_replies_that_nobody_asks_for_are_forgotten(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await asyncio.sleep(2.2)
    slow = Slow(proxy)
    for _ in range(LEARNING):
        await wire.send(head)
        await wire.reply()
    assert slow.times == LEARNING - 1


async def held(proxy: RunningProxy, tree: SignedTree, ftype: str, size: int) -> TreeItem:
    """Publish another item, and have the proxy fetch it."""
    item = tree.add_item(PRODUCT, "20250718", ftype, size=size)
    tree.publish()
    await proxy.documents.checks.revalidate()
    await proxy.read(item.path)
    await proxy.fills_ended()
    return item


@pytest.fixture
async def large(proxy: RunningProxy, tree: SignedTree) -> TreeItem:
    """Return an item that no ready reply holds whole."""
    return await held(proxy, tree, "squashfs", 3 * KIB * KIB + 17)


async def test_parts_of_a_file_are_ready_whatever_the_range(
    proxy: RunningProxy, wire: Wire, large: TreeItem
) -> None:
    """The same to the byte as when they are made anew, and so is what looks like a range and is none."""
    size, choose = large.size, random.Random(7)
    for first in range(LEARNING):
        await wire.ask(MOUNT + large.path, Range=f"bytes={first}-{first + 9}")
    ordinary = [(first := choose.randrange(size), first + choose.randrange(64 * KIB)) for _ in range(60)]
    asked = [f"bytes={first}-{min(last, size - 1)}" for first, last in ordinary]
    asked += [f"bytes=0-{256 * KIB - 1}", f"bytes={size - 1}-{size - 1}", "bytes=007-0011"]
    odd = [f"bytes=0-{256 * KIB}", f"bytes={size - 5}-{size + 5}", f"bytes={size}-{size}", "bytes=5-3",
           f"bytes=1-{10**17}", "bytes=1-2,5-6", "bytes=-5", "bytes=5-"]  # fmt: skip
    slow = Slow(proxy)
    got = [await wire.ask(MOUNT + large.path, Range=asked_for) for asked_for in asked]
    assert slow.times <= 2  # One a second is made anew.
    odd_heads = [request(MOUNT + large.path, Range=asked_for) for asked_for in odd]
    odd_heads += [request(MOUNT + large.path, Range="bytes=1-7")[:-2] + b"range: bytes=9-11\r\n\r\n"]
    for head in odd_heads:
        await wire.send(head)
        got.append(await wire.reply())

    async with Wire.to(proxy.base) as other:
        for number, head in enumerate([request(MOUNT + large.path, Range=one) for one in asked] + odd_heads):
            await other.send(head[:-2] + b"X-Number: %d\r\n\r\n" % number)
            assert comparable(await other.reply()) == comparable(got[number]), head


async def test_a_range_without_numbers_is_no_other_ones_answer(wire: Wire, item: TreeItem) -> None:
    for _ in range(LEARNING + 1):
        assert (await wire.ask(MOUNT + item.path, Range="bytes=")).status == 200
    assert (await wire.ask(MOUNT + item.path, Range="bytes=5-99")).status == 206


async def test_a_file_that_took_anothers_place_is_served_at_once(
    proxy: RunningProxy, wire: Wire, tree: SignedTree, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    tree.remove(item.path)
    other = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=4 * KIB, seed="other")
    assert other.path == item.path
    tree.publish()
    await proxy.documents.checks.revalidate()

    await wire.send(head)
    assert (await wire.reply()).body == other.read()


async def test_parts_are_counted_by_their_own_size(proxy: RunningProxy, wire: Wire, large: TreeItem) -> None:
    async with proxy.get("/-/stats") as response:
        before = (await response.json())["total"]["sent_bytes"]["hit"]
    for last in range(100):
        await wire.ask(MOUNT + large.path, Range=f"bytes=0-{last}")
    await asyncio.sleep(0.1)  # Counts are gathered for a moment.
    async with proxy.get("/-/stats") as response:
        total = (await response.json())["total"]
    assert total["sent_bytes"]["hit"] - before == sum(range(1, 101))


@pytest.mark.parametrize("last", [9, 99_999])
async def test_parts_that_left_the_page_cache_are_made_anew(
    proxy: RunningProxy, wire: Wire, large: TreeItem, monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    for first in range(LEARNING):
        await wire.ask(MOUNT + large.path, Range=f"bytes={first}-{last}")
    preadv = os.preadv

    def has_a_hole(fd: int, buffers: list[bytearray], offset: int, flags: int = 0) -> int:
        if flags & os.RWF_NOWAIT and offset <= last // 2 < offset + max(64 * KIB, len(buffers[0])):
            raise BlockingIOError
        return preadv(fd, buffers, offset, flags)

    monkeypatch.setattr("proxy.system.page_cache.os.preadv", has_a_hole)
    slow = Slow(proxy)
    reply = await wire.ask(MOUNT + large.path, Range=f"bytes=3-{last}")
    assert (slow.times, reply.body) == (1, large.read()[3 : last + 1])


# Large replies


@pytest.fixture
async def initrd(proxy: RunningProxy, tree: SignedTree) -> TreeItem:
    """Return an item whose ready reply is too large for many a socket."""
    return await held(proxy, tree, "boot-initrd", 900 * KIB)


async def test_a_large_ready_reply_is_the_same_though_the_socket_takes_it_in_parts(
    proxy: RunningProxy, wire: Wire, initrd: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = request(MOUNT + initrd.path)
    made = await warm(wire, head)
    slow = Slow(proxy)
    write, sent_bytes = os.write, []

    def write_little(to: int, data: bytes) -> int:
        if len(data) < 900 * KIB:
            return write(to, data)
        sent_bytes.append(write(to, data[:100_000]))
        return sent_bytes[-1]

    monkeypatch.setattr(f"{direct_socket.__name__}.os.write", write_little)
    for _ in range(3):
        await wire.send(head)
        assert comparable(await wire.reply()) == comparable(made)
    assert made.body == initrd.read()
    assert (slow.times, sent_bytes) == (0, [100_000] * 3)


@pytest.mark.parametrize("fits_bytes", [100_000, 0, None], ids=["a part", "the head alone", "not even that"])
async def test_a_ready_part_of_a_file_is_the_same_though_the_socket_takes_little_of_it(
    proxy: RunningProxy,
    wire: Wire,
    large: TreeItem,
    monkeypatch: pytest.MonkeyPatch,
    fits_bytes: int | None,
) -> None:
    for first in range(LEARNING):
        made = await wire.ask(MOUNT + large.path, Range=f"bytes={first}-200000")
    slow = Slow(proxy)
    sendfile, tried = os.sendfile, []

    def send_little(to: int, fd: int, offset: int, count: int) -> int:
        tried.append(count)
        if not fits_bytes:
            raise BlockingIOError
        return sendfile(to, fd, offset, min(count, fits_bytes))

    def is_full(_: DirectSocket) -> socket.socket:
        tried.append(0)
        raise BlockingIOError

    monkeypatch.setattr(f"{direct_socket.__name__}.os.sendfile", send_little)
    if fits_bytes is None:
        monkeypatch.setattr(DirectSocket, "_whole_socket", is_full)
    for _ in range(3):
        reply = await wire.ask(MOUNT + large.path, Range=f"bytes={LEARNING - 1}-200000")
        assert comparable(reply) == comparable(made)
    assert made.body == large.read()[LEARNING - 1 : 200_001]
    assert (slow.times, len(tried)) == (0, 3)


async def test_a_ready_part_of_a_file_is_cut_when_the_disk_fails_amid_it(
    proxy: RunningProxy, wire: Wire, large: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(LEARNING):
        await wire.ask(MOUNT + large.path, Range="bytes=0-200000")
    slow = Slow(proxy)

    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(f"{direct_socket.__name__}.os.sendfile", fail)
    monkeypatch.setattr(f"{connection.__name__}.os.pread", fail)
    await wire.send(request(MOUNT + large.path, Range="bytes=0-200000"))
    reply = await wire.reply()
    assert (reply.status, reply.is_complete, slow.times) == (206, False, 0)


async def test_connections_that_end_close_no_descriptor_of_others(
    proxy: RunningProxy, wire: Wire, large: TreeItem
) -> None:
    """A file is sent through a second object for the same descriptor, which must not close it."""
    for number in range(5):
        async with Wire.to(proxy.base) as short:
            for _ in range(LEARNING):
                reply = await short.ask(MOUNT + large.path, Range="bytes=0-99999")
        gc.collect()
        assert reply.body == large.read()[:100_000]
        reply = await wire.ask(MOUNT + large.path, Range=f"bytes={number}-99999")
        assert reply.body == large.read()[number:100_000]


def open_files(file: Path) -> int:
    """Count the descriptors of a file."""
    links = []
    for number in os.listdir("/proc/self/fd"):  # noqa: PTH208 - the numbers
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{number}"))  # noqa: PTH115 - not always of a path
    return links.count(str(file))


async def test_few_files_are_kept_open(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100)
    replies = ReplyCache(RequestLog(logging.getLogger("proxy.access")))
    before = open_files(file)
    for number in range(1000):
        head = b"GET /%d HTTP/1.1\r\nRange: bytes=0-9\r\n\r\n" % number
        content = RangeReplies("HTTP/1.1 206 Partial Content", [], os.open(file, os.O_RDONLY))
        replies.add(head, hot(content))
    assert 100 <= open_files(file) - before <= 512
    replies.close()
    assert open_files(file) == before


def hot(content: WholeReply | RangeReplies) -> CachedReply:
    """Return a reply that is true for everybody."""
    return CachedReply(
        prepared=content,
        has_body=True,
        tally=None,  # type: ignore[arg-type]
        clients=None,  # type: ignore[arg-type]
        visit=Visit("", "", "", ""),
        is_current=lambda _: True,
        is_for_all=False,
        on_used=lambda: None,
        ended=Ended(None, "GET", "/", 200, "hit", 0, 0.0, "", is_aborted=False, request_id=""),
        recorder=None,  # type: ignore[arg-type]
        request=Request(Kind.GOT, "", ""),
    )


async def test_memory_is_bounded() -> None:
    replies = ReplyCache(RequestLog(logging.getLogger("proxy.access")))
    for number in range(100):
        replies.add(b"GET /%d HTTP/1.1\r\n\r\n" % number, hot(WholeReply(b"", b"x" * KIB * KIB)))
    held = [number for number in range(100) if replies.find(b"GET /%d HTTP/1.1\r\n\r\n" % number, "", 0.0)]
    assert len(held) == 31  # Of 1 MiB each, with what goes with them, in 32 MiB.
    assert not any(replies.wants(b"GET /more HTTP/1.1\r\n\r\n") for _ in range(LEARNING))
    replies.close()


@pytest.mark.usefixtures("wire")
async def test_mixed_and_split_requests_are_answered_like_single_ones(
    proxy: RunningProxy, item: TreeItem
) -> None:
    """By 40 random mixes of heads, pipelined and split at random places."""
    targets = [MOUNT + item.path, INDEX, f"{MOUNT}nothing"]
    choices = [("GET", {}), ("GET", {"Range": "bytes=1-7"}), ("HEAD", {}), ("GET", {"X_A": "b"})]
    expected = {}
    for target in targets:
        for method, headers in choices:
            async with Wire.to(proxy.base) as single:
                head = request(target, method, **headers)
                expected[head] = (method, comparable(await single.ask(target, method, **headers)))
    for seed in range(40):
        mix = random.Random(seed)
        heads = mix.choices(list(expected), k=12)
        data = b"".join(heads)
        cuts = sorted(mix.sample(range(1, len(data)), mix.choice([0, 0, 3, 11])))
        if mix.random() < 0.5:
            cuts = [sum(map(len, heads[:n])) for n in range(1, len(heads))]
        async with Wire.to(proxy.base) as mixed:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                await mixed.send(data[start:end])
                if mix.random() < 0.7:
                    await asyncio.sleep(0.001)
            for head in heads:
                method, wanted = expected[head]
                got = comparable(await mixed.reply(method))
                assert without_ids(got) == without_ids(wanted), (seed, head)


def without_ids(reply: tuple[int, list[tuple[str, str]], bytes]) -> tuple[int, list[tuple[str, str]], bytes]:
    status, headers, body = reply
    return status, [(name, value) for name, value in headers if name != "X-Request-Id"], body


async def test_a_request_that_comes_before_the_last_ones_task_has_ended_is_answered_from_memory(
    proxy: RunningProxy, wire: Wire, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the connections of fast clients would stay with the slow way."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    handle, early = Connection._handle_request, [head]

    async def handle_and_receive(connection: Connection, *arguments: Any) -> Any:
        handled = await handle(connection, *arguments)
        if early:
            connection._loop.call_soon(connection.data_received, early.pop())
        return handled

    monkeypatch.setattr(Connection, "_handle_request", handle_and_receive)
    slow = Slow(proxy)
    await wire.send(request(MOUNT + item.path, X_Other="1"))

    replies = [await wire.reply() for _ in range(2)]

    assert [reply.body for reply in replies] == [item.read()] * 2
    assert slow.times == 1


async def test_what_comes_in_two_pieces_right_after_a_reply_is_one_request(
    wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    for cut in (1, 20, len(head) - 1):
        await wire.send(head + head[:cut])
        assert (await wire.reply()).body == item.read()
        await wire.send(head[cut:] + head)
        assert (await wire.reply()).body == item.read()
        assert (await wire.reply()).body == item.read()

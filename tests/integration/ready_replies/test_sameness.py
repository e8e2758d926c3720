"""Replies that are ready are the same, to the byte, as those that are made anew."""

import errno
import gc
import os
import random
import socket

import pytest
from support.ready_replies import INDEX, KIB, LEARNING, Slow, comparable, held, warm
from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.web.wire import connection, direct_socket
from proxy.web.wire.direct_socket import DirectSocket


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

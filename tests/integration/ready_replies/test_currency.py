"""Replies are ready only where they are right, and no longer than that."""

import asyncio
import os

import pytest
from support.ready_replies import INDEX, KIB, LEARNING, PRODUCT, Slow, warm
from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request


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


async def test_offline_takes_effect_at_once(proxy: RunningProxy, wire: Wire) -> None:
    head = request(INDEX)
    await warm(wire, head)
    proxy.cache.offline.turn(on=True)
    slow = Slow(proxy)
    await wire.send(head)
    await wire.reply()
    assert slow.times == 1


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

"""A miss, a hit, and everybody who waits for the same bytes."""

import asyncio
from hashlib import sha256

from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


async def test_a_miss_delivers_the_right_bytes_and_the_next_request_is_a_hit(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=3 * MIB)
    tree.publish()

    first, second = await proxy.read(item.path), await proxy.read(item.path)

    assert (first.body, second.body) == (item.read(), item.read())
    assert (first.cache_status, second.cache_status) == ("fwd=uri-miss; stored", "hit")
    assert origin.count(item.path) == 1


async def test_ten_readers_cause_one_origin_request(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """Concurrent misses for one item join a single fill."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=8 * MIB)
    tree.publish()

    replies = await asyncio.gather(*(proxy.read(item.path) for _ in range(10)))

    assert {sha256(reply.body).hexdigest() for reply in replies} == {item.digest}
    assert origin.count(item.path) == 1


async def test_corrupt_bytes_reach_nobody_in_full_and_are_not_stored(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=2 * MIB)
    tree.publish()
    origin.fault(item.path, Fault(corrupt_at=MIB))

    replies = await asyncio.gather(*(proxy.read(item.path) for _ in range(3)))

    assert not any(reply.is_complete for reply in replies)
    assert all(len(reply.body) <= 2 * MIB - 64 * 1024 for reply in replies)
    assert not list(proxy.layout.root.glob("blobs/sha256/*/" + item.digest))

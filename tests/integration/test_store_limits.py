"""What the store holds, for how long, and that clients are served when it can hold nothing more."""

import asyncio
from dataclasses import replace
from pathlib import Path

from support.exchange import Exchange, read
from support.faults import Fault
from support.limited_store import add_items, fetch, in_ledger, is_right, limited, stored
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.store.limits import StoreLimits
from proxy.store.pins import Pins

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
NOT_STORED = "fwd=uri-miss; detail=not-stored"


# One digest, many names


async def test_the_same_bytes_under_several_paths_are_fetched_once(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """As when a new serial repeats the kernel of the last one."""
    old = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=MIB, seed="kernel")
    new = tree.add_item(PRODUCT, "20250801", "boot-kernel", size=MIB, seed="kernel")
    tree.publish()

    first, second = await fetch(proxy, old), await fetch(proxy, new)

    assert old.path != new.path
    assert (first.cache_status, second.cache_status) == ("fwd=uri-miss; stored", "hit")
    assert origin.count("com.ubuntu.maas/*") == 1


async def test_the_same_bytes_asked_by_two_paths_at_once_are_fetched_once(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    items = [tree.add_item(PRODUCT, serial, "boot-kernel", size=MIB, seed=1) for serial in ("1", "2", "3")]
    tree.publish()
    await read(proxy.url(INDEX))
    gate = origin.gate("com.ubuntu.maas/*")

    replies = [asyncio.create_task(read(proxy.url(item.path))) for item in items]
    await gate.waiting(1)
    gate.open()

    assert all([is_right(await reply, items[0]) for reply in replies])
    assert origin.count("com.ubuntu.maas/*") == 1


async def test_the_same_bytes_in_two_mirrors_are_fetched_once(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """As stable and candidate often share theirs."""
    (item,) = add_items(tree, MIB)
    candidate = replace(mirror, name="candidate", mount="/images/candidate/")
    async with run_proxy(make_config(tmp_path / "data", mirror, candidate)) as proxy:
        first = await read(proxy.url(f"{mirror.mount}{item.path}"))
        second = await read(proxy.url(f"{candidate.mount}{item.path}"))

    assert is_right(first, item)
    assert is_right(second, item)
    assert second.cache_status == "hit"
    assert origin.count(item.path) == 1


# Limits


async def test_the_least_recently_used_item_makes_room(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    first, second, third, new = add_items(tree, MIB, MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB), clock) as proxy:
        for item in (first, second, third):
            clock.advance(60)
            await fetch(proxy, item)
        clock.advance(60)
        assert (await fetch(proxy, first)).cache_status == "hit"
        await proxy.cache.delivery._usage.flush()

        assert (await fetch(proxy, new)).cache_status == "fwd=uri-miss; stored"

        assert stored(proxy, first, second, third, new) == [True, False, True, True]
        assert (await fetch(proxy, second)).cache_status == "fwd=uri-miss; stored"
        assert stored(proxy, first, second, third, new) == [True, True, False, True]
    assert origin.count(second.path) == 2


async def test_a_pinned_item_is_never_evicted(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    pinned, other, new, newest = add_items(tree, MIB, MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        for item in (pinned, other):
            await fetch(proxy, item)
        await in_ledger(proxy, lambda ledger: Pins(ledger).pin_all("test", [Digest(pinned.digest)]))

        for item in (new, newest):
            assert (await fetch(proxy, item)).cache_status == "fwd=uri-miss; stored"

        assert stored(proxy, pinned, other, new, newest) == [True, False, False, True]


async def test_when_all_is_pinned_clients_are_served_all_the_same(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    pinned, new = add_items(tree, 2 * MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        await fetch(proxy, pinned)
        await in_ledger(proxy, lambda ledger: Pins(ledger).pin_all("test", [Digest(pinned.digest)]))

        assert [(await fetch(proxy, new)).cache_status for _ in range(2)] == [NOT_STORED] * 2

        assert stored(proxy, pinned, new) == [True, False]


async def test_what_passes_uncached_costs_one_upstream_request_each_time(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        for _ in range(2):
            await fetch(proxy, item)
    assert origin.count(item.path) == 2


async def test_documents_that_are_served_are_never_evicted(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    """They are the oldest blobs of all, and without them no item could be served."""
    items = add_items(tree, *[MIB] * 6)
    for _ in range(2):  # The second run finds the documents on disk, and counts them.
        async with run_proxy(limited(tmp_path, mirror, 2 * MIB), clock) as proxy:
            for item in items:
                await fetch(proxy, item)
    await origin.stop()
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB), clock) as proxy:
        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
        assert sum(stored(proxy, *items)) == 2


async def test_an_item_that_is_being_read_is_not_removed(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """Its place is not counted on either: the next oldest item goes instead."""
    read_now, idle, new = add_items(tree, 16 * MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 17 * MIB)) as proxy:
        for item in (read_now, idle):
            await fetch(proxy, item)

        async with Exchange(proxy.url(read_now.path)) as exchange:
            assert await exchange.begin() == 200
            fetched = await fetch(proxy, new)
            assert stored(proxy, read_now)[0]
            assert is_right(await exchange.rest(), read_now)

        assert fetched.cache_status == "fwd=uri-miss; stored"
        assert stored(proxy, read_now, idle, new) == [True, False, True]


async def test_an_item_larger_than_the_limit_passes_through_verified_and_uncached(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """And nothing is evicted for it, since that would not help."""
    small, large = add_items(tree, MIB, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        await fetch(proxy, small)

        assert (await fetch(proxy, large)).cache_status == NOT_STORED

        assert stored(proxy, small, large) == [True, False]
        part = await read(proxy.url(large.path), Range="bytes=1000000-3999999")
        assert (part.status, part.body) == (206, large.read()[1_000_000:4_000_000])
        origin.fault(large.path, Fault(corrupt_at=2 * MIB))
        wrong = await read(proxy.url(large.path))
        assert not wrong.is_complete
        assert len(wrong.body) <= 4 * MIB - 64 * KIB


async def test_what_passes_uncached_leaves_while_it_arrives(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        stall = origin.fault(item.path, Fault(stall_after=MIB))
        async with Exchange(proxy.url(item.path)) as exchange:
            assert await exchange.begin() == 200
            await exchange.received(MIB - 64 * KIB)
            stall.remove()
            assert is_right(await exchange.rest(), item)


async def test_nothing_is_stored_when_the_disk_must_stay_free(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    (item,) = add_items(tree, MIB)
    config = make_config(tmp_path / "data", mirror, cache=StoreLimits(min_free_bytes=1024**5))
    async with run_proxy(config) as proxy:
        assert (await fetch(proxy, item)).cache_status == NOT_STORED
        assert stored(proxy, item) == [False]


async def test_fills_that_run_at_once_stay_within_the_limit_together(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Room is set aside before the first byte comes, not found missing in the middle."""
    items = add_items(tree, *[MIB] * 5)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        await read(proxy.url(INDEX))
        origin.clear()
        origin.fault("com.ubuntu.maas/*", Fault(stall_after=MIB // 2))
        replies = [asyncio.create_task(read(proxy.url(item.path))) for item in items]
        # Three of them ask the origin once more, for their client alone: there is no room for them.
        await origin.arrived("com.ubuntu.maas/*", len(items) + 3)
        origin.heal()

        statuses = sorted([(await reply).cache_status for reply in replies])
        await proxy.fills_ended()

        assert statuses == [NOT_STORED] * 3 + ["fwd=uri-miss; stored"] * 2
        assert sum(stored(proxy, *items)) == 2

"""Bytes flow to clients while they arrive from upstream, except the end, which waits for the proof."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.exchange import Exchange, read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.stored import removed
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

KIB = 1024
MIB = 1024 * KIB
HELD = 64 * KIB
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"

PATIENT = UpstreamOptions(stall_timeout_s=30, give_up_after_s=60)


@asynccontextmanager
async def patient_proxy(tmp_path: Path, mirror: Mirror, **feed: Any) -> AsyncIterator[RunningProxy]:
    """Run a proxy that waits for a stalled origin and keeps no reserve unless told to."""
    options = replace(FeedOptions(reserve_bytes=0, drip_interval_s=0.05), **feed)
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=PATIENT, feed=options)) as proxy:
        yield proxy


def publish_item(tree: SignedTree, size: int) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=size)
    tree.publish()
    return item


async def is_stored(proxy: RunningProxy, item: TreeItem) -> bool:
    await proxy.fills_ended()
    return proxy.store.has(Digest(item.digest))


def stored_files(proxy: RunningProxy, item: TreeItem) -> list[Path]:
    """List the files of the item's name anywhere in the data directory."""
    return list(proxy.config.data_dir.rglob(item.digest))


# The beginning


@pytest.mark.parametrize("arrived", [1, 10 * KIB, MIB])
async def test_the_first_byte_leaves_as_soon_as_upstreams_first_byte_is_here(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, arrived: int
) -> None:
    item = publish_item(tree, 3 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=arrived))

    async with Exchange(proxy.url(item.path)) as exchange:
        assert await exchange.begin() == 200
        await exchange.received(arrived - arrived // 8)
        assert origin.count(item.path) == 1
        stall.remove()
        reply = await exchange.rest()

    assert reply.is_complete
    assert reply.body == item.read()


async def test_headers_tell_the_length_before_the_bytes_are_here(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, MIB)
    origin.fault(item.path, Fault(stall_after=1))

    async with Exchange(proxy.url(item.path)) as exchange:
        assert await exchange.begin() == 200
        assert exchange.headers["Content-Length"] == str(MIB)
        assert exchange.headers["ETag"] == f'"{item.digest}"'
        assert "Transfer-Encoding" not in exchange.headers


# The end


@pytest.mark.parametrize("missing", [1, HELD - 1, HELD, HELD + 1])
async def test_the_last_64_kib_of_every_reply_wait_for_the_proof(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, missing: int
) -> None:
    """Whether a reply is the whole item or a part of it, and however long upstream stalls."""
    size = 512 * KIB
    item = publish_item(tree, size)
    stall = origin.fault(item.path, Fault(stall_after=size - missing))
    ranges = {(0, size), (0, 300 * KIB), (100 * KIB, size), (200 * KIB, 200 * KIB + HELD), (0, 1)}

    async with patient_proxy(tmp_path, mirror) as proxy:

        async def look(start: int, stop: int) -> None:
            async with Exchange(proxy.url(item.path), Range=f"bytes={start}-{stop - 1}") as exchange:
                assert await exchange.begin() == 206
                await exchange.received(min(stop - HELD, size - missing) - start)
                assert await exchange.gets_nothing_for(0.3)
                waiting.release()
                reply = await exchange.rest()
                assert reply.is_complete
                assert reply.body == item.read()[start:stop]

        waiting = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            for start, stop in ranges:
                group.create_task(look(start, stop))
            for _ in ranges:
                await waiting.acquire()
            stall.remove()


@pytest.mark.parametrize("corrupt_at", [0, 100_000, 512 * KIB - HELD, 512 * KIB - 1])
async def test_a_wrong_byte_anywhere_cuts_every_reply_and_is_remembered(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, corrupt_at: int
) -> None:
    """Nobody gets a reply's end, nothing is stored, and upstream is not asked again at once."""
    size = 512 * KIB
    item = publish_item(tree, size)
    origin.fault(item.path, Fault(corrupt_at=corrupt_at))
    parts = {"bytes=0-": size, "bytes=1000-299999": 299_000, f"bytes=-{HELD + 1}": HELD + 1, "bytes=5-5": 1}

    whole, *partial = await asyncio.gather(
        read(proxy.url(item.path)), *(read(proxy.url(item.path), Range=part) for part in parts)
    )

    assert not whole.is_complete
    assert len(whole.body) <= size - HELD
    for reply, promised in zip(partial, parts.values(), strict=True):
        assert not reply.is_complete
        assert len(reply.body) <= max(0, promised - HELD)
    assert not stored_files(proxy, item)
    again = await read(proxy.url(item.path))
    assert again.status == 0
    assert origin.count(item.path) == 1


@pytest.mark.parametrize("size", [1, 1000, HELD, HELD + 1])
async def test_not_one_byte_of_a_small_wrong_item_is_sent_too_many(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, size: int
) -> None:
    item = publish_item(tree, size)
    origin.fault(item.path, Fault(corrupt_at=size - 1))

    replies = await asyncio.gather(*(read(proxy.url(item.path)) for _ in range(3)))

    assert not any(reply.is_complete for reply in replies)
    assert all(len(reply.body) <= max(0, size - HELD) for reply in replies)
    assert not stored_files(proxy, item)


async def test_what_was_wrong_or_absent_is_asked_for_again_in_a_moment(
    proxy: RunningProxy, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    wrong = publish_item(tree, 512 * KIB)
    absent = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=1000)
    tree.publish()
    origin.fault(wrong.path, Fault(corrupt_at=1000))
    origin.fault(absent.path, Fault(status=404))
    for _ in range(2):
        assert not (await read(proxy.url(wrong.path))).is_complete
        assert (await read(proxy.url(absent.path))).status == 404
    origin.heal()
    assert (origin.count(wrong.path), origin.count(absent.path)) == (1, 1)

    clock.advance(16)
    assert (await read(proxy.url(wrong.path))).body == wrong.read()
    assert await is_stored(proxy, wrong)
    assert (await read(proxy.url(absent.path))).status == 404

    clock.advance(45)
    assert (await read(proxy.url(absent.path))).body == absent.read()


# Clients come and go


async def test_a_client_that_leaves_does_not_stop_the_fill(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    async with Exchange(proxy.url(item.path)) as exchange:
        await exchange.begin()
        await exchange.received(1)

    stall.remove()

    assert await is_stored(proxy, item)
    assert (await read(proxy.url(item.path))).cache_status == "hit"
    assert origin.count(item.path) == 1


async def test_a_client_that_leaves_harms_no_other(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    async with Exchange(proxy.url(item.path)) as stays:
        await stays.begin()
        async with Exchange(proxy.url(item.path)) as leaves:
            await leaves.begin()
            await leaves.received(1)
        stall.remove()
        reply = await stays.rest()

    assert reply.is_complete
    assert reply.body == item.read()
    assert origin.count(item.path) == 1


async def test_a_client_that_does_not_read_delays_no_other(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 16 * MIB)
    async with Exchange(proxy.url(item.path)) as idle:
        await idle.begin()

        reply = await read(proxy.url(item.path))

        assert reply.is_complete
        assert reply.body == item.read()
        late = await idle.rest()
        assert late.body == reply.body
    assert origin.count(item.path) == 1


@pytest.mark.parametrize(
    "header", [None, "bytes=0-", "bytes=700000-", "bytes=2000000-2999999", "bytes=-100000"]
)
async def test_a_second_client_joins_in_the_middle_from_any_offset(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, header: str | None
) -> None:
    item = publish_item(tree, 3 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with Exchange(proxy.url(item.path)) as first:
        await first.begin()
        await first.received(MIB)

        async with Exchange(proxy.url(item.path), **({"Range": header} if header else {})) as second:
            assert await second.begin() == (206 if header else 200)
            assert not second.is_over
            stall.remove()
            reply = await second.rest()
        whole = await first.rest()

    expected = expected_part(header, item.read()) if header else item.read()
    assert reply.is_complete
    assert reply.body == expected
    assert reply.cache_status == "fwd=uri-miss; collapsed"
    assert whole.body == item.read()
    assert origin.count(item.path) == 1


def expected_part(header: str, data: bytes) -> bytes:
    """Cut out what a well-formed single range names."""
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return data[max(0, len(data) - int(last)) :]
    return data[int(first) : int(last) + 1 if last else None]


# Sizes and ranges


@pytest.mark.parametrize("size", [0, 1, HELD - 1, HELD, HELD + 1, 2 * HELD, 8 * HELD + 1])
async def test_items_of_any_size_come_whole_cold_and_warm(
    proxy: RunningProxy, tree: SignedTree, size: int
) -> None:
    item = publish_item(tree, size)

    cold = await read(proxy.url(item.path))
    warm = await read(proxy.url(item.path))

    assert cold.is_complete
    assert warm.is_complete
    assert (cold.body, warm.body) == (item.read(), item.read())
    assert (cold.headers["Content-Length"], cold.cache_status) == (str(size), "fwd=uri-miss; stored")
    assert warm.cache_status == "hit"


@pytest.mark.parametrize(
    "header",
    ["bytes=0-0", "bytes=1000000-1999999", "bytes=5-", "bytes=-99999999"],
)
async def test_a_range_of_a_cold_item_fetches_and_stores_the_whole(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, header: str
) -> None:
    item = publish_item(tree, 2 * MIB)

    reply = await read(proxy.url(item.path), Range=header)

    assert (reply.status, reply.is_complete) == (206, True)
    assert reply.body == expected_part(header, item.read())
    assert await is_stored(proxy, item)
    (request,) = origin.gets(item.path)
    assert "Range" not in request.headers


async def test_a_range_outside_a_cold_item_is_refused_without_asking_upstream(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 1000)

    reply = await read(proxy.url(item.path), Range="bytes=1000-")

    assert reply.status == 416
    assert reply.headers["Content-Range"] == "bytes */1000"
    assert origin.count(item.path) == 0


FILL_SIZE = 400 * KIB
offsets = st.one_of(
    st.integers(0, FILL_SIZE - 1),
    st.sampled_from([0, 1, HELD - 1, HELD, FILL_SIZE - HELD - 1, FILL_SIZE - HELD, FILL_SIZE - 1]),
)
ranges = st.one_of(
    st.tuples(offsets, offsets).map(lambda pair: f"bytes={min(pair)}-{max(pair)}"),
    offsets.map(lambda first: f"bytes={first}-"),
    offsets.map(lambda last: f"bytes=-{last + 1}"),
)


@given(held_at=offsets, headers=st.lists(ranges, min_size=1, max_size=6))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_any_ranges_of_a_filling_item_are_right_wherever_the_fill_is(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, held_at: int, headers: list[str]
) -> None:
    item = publish_item(tree, FILL_SIZE)
    origin.clear()
    await asyncio.to_thread(removed, proxy.store, Digest(item.digest))
    stall = origin.fault(item.path, Fault(stall_after=held_at))

    replies = [asyncio.create_task(read(proxy.url(item.path), Range=header)) for header in headers]
    await stall.reached.wait()
    stall.remove()
    for header, task in zip(headers, replies, strict=True):
        reply = await task
        assert (reply.status, reply.is_complete) == (206, True)
        assert reply.body == expected_part(header, item.read())
    await proxy.fills_ended()

    assert origin.count(item.path) == 1


# Silence upstream


async def test_clients_are_fed_from_the_reserve_while_upstream_is_silent(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """A client that gives up after a second without a byte lives through three silent ones."""
    item = publish_item(tree, 4 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=3 * MIB))
    async with (
        patient_proxy(tmp_path, mirror, reserve_bytes=MIB, drip_interval_s=0.2) as proxy,
        Exchange(proxy.url(item.path)) as exchange,
    ):
        await exchange.begin()
        await stall.reached.wait()
        asyncio.get_running_loop().call_later(3.0, stall.remove)
        while not exchange.is_over:
            async with asyncio.timeout(2.5):
                await exchange.more()
        reply = await exchange.rest()

    assert stall.removed.is_set()
    assert reply.is_complete
    assert reply.body == item.read()
    assert origin.count(item.path) == 1


async def test_a_drip_never_gives_the_end_away(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """However often the reserve is tapped, the last 64 KiB stay until the proof."""
    size = 256 * KIB
    item = publish_item(tree, size)
    stall = origin.fault(item.path, Fault(stall_after=size - 1))
    async with (
        patient_proxy(tmp_path, mirror, reserve_bytes=MIB, drip_interval_s=0.001) as proxy,
        Exchange(proxy.url(item.path)) as exchange,
    ):
        await exchange.begin()
        await exchange.received(size - HELD)
        assert await exchange.gets_nothing_for(0.3)
        stall.remove()
        assert (await exchange.rest()).body == item.read()


async def test_a_silent_origin_is_asked_again_from_where_it_stopped(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 4 * MIB)
    origin.fault(item.path, Fault(stall_after=3 * MIB), times=1)

    reply = await read(proxy.url(item.path))

    assert reply.body == item.read()
    first, second = origin.gets(item.path)
    assert "Range" not in first.headers
    assert second.headers["Range"] == f"bytes={3 * MIB}-"
    assert second.sent_bytes == MIB


# Wrong sizes


@pytest.mark.parametrize("chunked", [False, True], ids=["with-length", "chunked"])
@pytest.mark.parametrize("extra", [-1, -400_000, 1, 500_000])
async def test_a_copy_of_another_size_is_cut_not_stored_and_remembered(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, extra: int, chunked: bool
) -> None:
    """Shorter or longer than the signed list says, with or without its length told before."""
    item = publish_item(tree, 400_000)
    data = item.read()
    tree.write(item.path, (data + data + data)[: len(data) + extra])
    origin.fault(item.path, Fault(chunked=chunked))

    replies = await asyncio.gather(*(read(proxy.url(item.path)) for _ in range(3)))

    assert not any(reply.is_complete for reply in replies)
    assert all(len(reply.body) <= len(data) - HELD for reply in replies)
    assert {reply.status for reply in replies} <= {0, 200}
    assert not stored_files(proxy, item)
    assert not (await read(proxy.url(item.path))).is_complete
    assert origin.count(item.path) == 1


async def test_an_origin_that_tells_no_length_is_good_enough(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    item = publish_item(tree, 3 * MIB)
    origin.fault(item.path, Fault(chunked=True))

    reply = await read(proxy.url(item.path))

    assert reply.is_complete
    assert reply.body == item.read()
    assert await is_stored(proxy, item)

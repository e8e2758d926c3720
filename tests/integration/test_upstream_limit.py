"""`[upstream] limit`: how fast bytes come from upstream, whatever they are and whoever asked for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.certificates import make_certificate
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, Got, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.workers import run_workers

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.simplestreams.model import Item
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits

KIB = 1024
MIB = 1024 * KIB
PATIENT = UpstreamOptions(connect_timeout_s=5, stall_timeout_s=5, give_up_after_s=10)
LATE_S = 15.0
"""How long a busy machine may take for what a limit lets through in a few seconds."""
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


def add_items(tree: SignedTree, *sizes: int) -> list[TreeItem]:
    """Publish items of these sizes."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=size) for n, size in enumerate(sizes)]
    tree.publish()
    return items


@asynccontextmanager
async def limited(
    folder: Path, mirror: Mirror, limit: int | None, processes: int = 1, **changes: Any
) -> AsyncIterator[list[RunningProxy]]:
    """Run as many proxies on one data directory."""
    upstream = replace(changes.pop("upstream", PATIENT), limit_bytes_s=limit)
    config = make_config(folder / "data", mirror, upstream=upstream, **changes)
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(run_proxy(config, Clock())) for _ in range(processes)]


async def timed(*reading: Any) -> tuple[list[Got], float]:
    """Return the replies, and how long they took together."""
    began = time.monotonic()
    replies = await asyncio.gather(*reading)
    return replies, time.monotonic() - began


async def prefetch(proxy: RunningProxy, items: Iterable[TreeItem]) -> None:
    """Bring items into the store with nobody waiting."""

    async def one(item: TreeItem) -> None:
        wanted = Item(path=item.path, digest=Digest(item.digest), size_bytes=item.size)
        async for _ in proxy.cache.ensure("test", wanted):
            pass

    await asyncio.gather(*map(one, items))


def are_right(replies: list[Got], items: list[TreeItem]) -> bool:
    return [reply.body for reply in replies] == [item.read() for item in items]


# All kinds of bytes


@pytest.mark.parametrize("fault", [Fault(), Fault(chunked=True), Fault(ignore_range=True)])
async def test_an_item_comes_at_the_limit(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, fault: Fault
) -> None:
    items = add_items(tree, 2_000_000)
    origin.fault(items[0].path, fault)
    async with limited(tmp_path, mirror, 1_000_000) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        replies, took_s = await timed(proxy.read(items[0].path))
    assert are_right(replies, items)
    assert 1.6 <= took_s <= LATE_S


async def test_an_item_comes_at_the_limit_over_https(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """By two workers: each has a client."""
    certificate = make_certificate(tmp_path, "127.0.0.1")
    items = add_items(tree, 2_000_000, 2_000_000)
    trusting = {"SSL_CERT_FILE": str(certificate.authority)}
    settings = '[upstream]\nlimit = "8 Mbit/s"\n[cache]\nmin_free = "0 B"'
    async with Origin(tree.root, tls=certificate.server) as origin:
        secure = replace(mirror, origins=(origin.url,))
        async with run_workers(tmp_path, secure, 2, settings, trusting) as workers:
            began = time.monotonic()
            asked = [await workers.ask(pid, item.path) for pid, item in zip(workers.pids, items, strict=True)]
            replies = await asyncio.gather(*(exchange.rest() for (exchange,) in asked))
            took_s = time.monotonic() - began
    assert [reply.body for reply in replies] == [item.read() for item in items]
    assert 3.5 <= took_s <= LATE_S


async def test_an_item_comes_at_the_limit_from_a_folder(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    items = add_items(tree, 2_000_000)
    folder = replace(mirror, origins=(tree.root.as_uri() + "/",))
    async with limited(tmp_path, folder, 1_000_000) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        replies, took_s = await timed(proxy.read(items[0].path))
    assert are_right(replies, items)
    assert 1.6 <= took_s <= LATE_S


async def test_what_the_store_cannot_take_comes_at_the_limit(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    items = add_items(tree, 2_000_000)
    small = StoreLimits(limit_bytes=MIB, min_free_bytes=0)
    async with limited(tmp_path, mirror, 1_000_000, cache=small) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        replies, took_s = await timed(proxy.read(items[0].path))
    assert are_right(replies, items)
    assert replies[0].cache_status == "fwd=uri-miss; detail=not-stored"
    assert 1.6 <= took_s <= LATE_S


async def test_documents_come_at_the_limit_however_little_time_they_are_given(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """They may take longer than `document_timeout` and `stall_timeout` when the limit is what slows them."""
    add_items(tree, *[1] * 1200)
    hasty = replace(PATIENT, stall_timeout_s=0.7, document_timeout_s=0.7)
    size = sum(path.stat().st_size for path in tree.root.glob("streams/v1/*.sjson"))
    async with limited(tmp_path, mirror, 200_000, upstream=hasty) as (proxy,):
        (reply,), took_s = await timed(proxy.read("streams/v1/index.sjson"))
    assert reply.status == 200
    assert took_s >= size / 200_000 - 0.3 > 1


# Who shares it


async def test_processes_on_one_data_directory_share_it(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    items = add_items(tree, 1_500_000, 1_500_000)
    async with limited(tmp_path, mirror, 1_000_000, processes=2) as proxies:
        for proxy in proxies:
            await proxy.read("streams/v1/index.sjson")
        reading = [proxy.read(item.path) for proxy, item in zip(proxies, items, strict=True)]
        replies, took_s = await timed(*reading)
    assert are_right(replies, items)
    assert 2.6 <= took_s <= LATE_S


async def test_prefetches_of_all_processes_share_the_backgrounds_limit(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    items = add_items(tree, 1_500_000, 1_500_000)
    background = replace(PATIENT, background_limit_bytes_s=1_000_000)
    async with limited(tmp_path, mirror, None, processes=2, upstream=background) as proxies:
        began = time.monotonic()
        await asyncio.gather(*(prefetch(proxy, [item]) for proxy, item in zip(proxies, items, strict=True)))
        took_s = time.monotonic() - began
    assert 1.9 <= took_s <= LATE_S


async def test_two_clients_get_the_same(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    items = add_items(tree, 4_000_000, 4_000_000)
    async with limited(tmp_path, mirror, 1_000_000, processes=2) as proxies:
        for proxy in proxies:
            await proxy.read("streams/v1/index.sjson")
        got = [0, 0]

        async def read(n: int) -> None:
            async with proxies[n].get(items[n].path) as response:
                async for chunk in response.content.iter_any():
                    got[n] += len(chunk)

        reading = [asyncio.create_task(read(n)) for n in (0, 1)]
        await asyncio.sleep(1)
        before, began = list(got), time.monotonic()
        await asyncio.sleep(2)
        took_s = time.monotonic() - began
        rates = [(now - then) / took_s for now, then in zip(got, before, strict=True)]
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
    assert min(rates) >= 0.6 * max(rates) > 0
    assert sum(rates) <= 1.1 * 1_000_000


async def test_a_client_goes_before_a_prefetch(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    wanted, *others = items = add_items(tree, 2_000_000, *[4_000_000] * 8)
    async with limited(tmp_path, mirror, 1_000_000, processes=2) as (proxy, other):
        await proxy.read("streams/v1/index.sjson")
        fetching = asyncio.create_task(prefetch(other, others))
        await origin.arrived("*/file-[1-8]", 8)
        await asyncio.sleep(1)
        replies, took_s = await timed(proxy.read(wanted.path))
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
    assert are_right(replies, items[:1])
    assert took_s <= 10  # An equal share would take 18 seconds.


@pytest.mark.parametrize("processes", [1, 2])
async def test_a_client_does_not_wait_for_what_a_prefetch_of_its_item_has_to_wait_for(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, processes: int
) -> None:
    """A minute, at the background's limit, before it receives more. The client may be another process's."""
    items = add_items(tree, 8_000_000)
    background = replace(PATIENT, background_limit_bytes_s=1_000)
    async with limited(tmp_path, mirror, None, processes, upstream=background) as proxies:
        await proxies[-1].read("streams/v1/index.sjson")
        fetching = asyncio.create_task(prefetch(proxies[0], items))
        await origin.arrived(items[0].path, 1)
        await asyncio.sleep(1)
        replies, took_s = await timed(proxies[-1].read(items[0].path))
        await fetching
    assert are_right(replies, items)
    assert took_s <= LATE_S / 2


async def test_a_prefetch_takes_what_is_left(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    items = add_items(tree, 2_000_000)
    async with limited(tmp_path, mirror, 1_000_000) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        began = time.monotonic()
        await prefetch(proxy, items)
        took_s = time.monotonic() - began
    assert 1.6 <= took_s <= LATE_S


async def test_a_mirrors_own_limit_holds_below_the_whole(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    slow, quick = items = add_items(tree, 2_000_000, 2_000_000)
    second = replace(mirror, name="slow", mount="/slow/", limit_bytes_s=200_000)
    upstream = replace(PATIENT, limit_bytes_s=1_200_000)
    config = make_config(tmp_path / "data", mirror, second, upstream=upstream)
    async with run_proxy(config, Clock()) as proxy:
        await proxy.read("streams/v1/index.sjson")
        await proxy.read("/slow/streams/v1/index.sjson")
        dawdling = asyncio.create_task(proxy.read(f"/slow/{slow.path}"))
        replies, took_s = await timed(proxy.read(quick.path))
        stored = proxy.store.stored_bytes(Digest(slow.digest), slow.size)
        dawdling.cancel()
        await asyncio.gather(dawdling, return_exceptions=True)
    assert are_right(replies, items[1:])
    assert 1.5 <= took_s <= LATE_S
    assert stored <= 200_000 * (took_s + 0.5)


# What we slow down is not slow


@pytest.mark.parametrize("fault", [Fault(), Fault(chunked=True)])
async def test_origins_are_not_blamed_for_our_limit(
    tmp_path: Path,
    origin: Origin,
    tree: SignedTree,
    mirror: Mirror,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each transfer gets a sixth of `least_rate`, and waits longer than `stall_timeout` for its turns."""
    items = add_items(tree, *[48 * KIB] * 24)
    origin.fault("*/file-*", fault)
    both = replace(mirror, origins=(origin.url, origin.url.replace("127.0.0.1", "localhost")))
    hasty = replace(PATIENT, stall_timeout_s=0.3, give_up_after_s=0.6)
    async with limited(tmp_path, both, 256 * KIB, upstream=hasty) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        replies, took_s = await timed(*(proxy.read(item.path) for item in items))
    assert are_right(replies, items)
    assert took_s >= 3
    assert origin.count("*/file-*") == len(items)
    assert "origin.failed" not in caplog.text


async def test_a_client_that_cannot_wait_for_limited_lists_hears_nothing_of_origins(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They answered at once. The lists go on arriving meanwhile."""
    add_items(tree, *[1] * 400)
    monkeypatch.setattr("proxy.documents.checks._FIRST_WAIT_S", 0.3)
    async with limited(tmp_path, mirror, 100_000) as (proxy,):
        reply = await proxy.read("streams/v1/index.sjson")
        while (later := await proxy.read("streams/v1/index.sjson")).status != 200:
            assert later.status == 503
    assert reply.status == 503
    assert b"not all of its lists have arrived yet" in reply.body
    assert b"origin" not in reply.body


async def test_a_client_gets_its_bytes_evenly(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    """A low limit makes no long silences."""
    items = add_items(tree, 256 * KIB)
    async with limited(tmp_path, mirror, 64 * KIB) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        moments = [time.monotonic()]
        async with proxy.get(items[0].path) as response:
            moments += [time.monotonic() async for _ in response.content.iter_any()]
    assert max(later - earlier for earlier, later in pairwise(moments)) <= 2.0


async def test_a_transfer_that_really_is_slow_is_left_all_the_same(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    items = add_items(tree, 300 * KIB)
    both = replace(mirror, origins=(origin.url, origin.url.replace("127.0.0.1", "localhost")))
    origin.fault(items[0].path, Fault(rate_bytes_s=4 * KIB), times=1)
    hasty = replace(PATIENT, stall_timeout_s=0.5)
    async with limited(tmp_path, both, MIB, upstream=hasty) as (proxy,):
        await proxy.read("streams/v1/index.sjson")
        replies, took_s = await timed(proxy.read(items[0].path))
    assert are_right(replies, items)
    assert origin.count(items[0].path) == 2
    assert took_s < 30  # That one would take 75 seconds.

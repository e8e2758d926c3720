"""A client is not left in silence when no origin can be had: it is cut off in time to try again."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.store.limits import StoreLimits

MIB = 1024 * 1024
WITHIN_S = 0.6
AT_LAST_S = 8.0
"""On a busy machine. A fill tries for a minute."""
FEED = FeedOptions(first_byte_within_s=WITHIN_S, drip_interval_s=0.2)
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item("product", "1", "squashfs", size=3 * MIB)
    tree.publish()
    return item


@asynccontextmanager
async def patient_proxy(
    data_dir: Path, mirror: Mirror, *, cache: StoreLimits | None = None
) -> AsyncIterator[RunningProxy]:
    """Run a proxy that tries for a minute, and has its clients wait for less than a second."""
    config = make_config(data_dir, mirror)
    upstream = replace(config.upstream, give_up_after_s=60, stall_timeout_s=5)
    async with run_proxy(replace(config, upstream=upstream, feed=FEED, cache=cache or config.cache)) as proxy:
        assert (await proxy.read(LIST)).status == 200
        yield proxy


async def cut_after_s(proxy: RunningProxy, path: str, **headers: str) -> float:
    """Return after how many seconds a client's connection ended without a byte of a reply."""
    began = time.monotonic()
    async with asyncio.timeout(10):
        assert (await read(proxy.url(path), **headers)).status == 0
    return time.monotonic() - began


async def cuts(proxy: RunningProxy) -> dict[str, int]:
    async with proxy.get("/-/stats") as reply:
        found: dict[str, int] = (await reply.json())["cuts"]["total"]
    return {reason: count for reason, count in found.items() if count}


def test_real_clients_are_told_before_they_give_up() -> None:
    """MAAS waits for ten seconds."""
    assert FeedOptions().first_byte_within_s <= 8


async def test_an_origin_that_refuses_at_once(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """The client is cut off, the proxy tries on, and who comes later gets the item."""
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        await origin.stop()
        waited_s = await cut_after_s(proxy, item.path)
        assert WITHIN_S <= waited_s < AT_LAST_S
        await origin.start()
        got = await proxy.read(item.path)
        assert (got.body, got.is_complete) == (item.read(), True)


@pytest.mark.parametrize(
    "fault", [Fault(refuse=True), Fault(status=503), Fault(redirect_to="http://no-such-name.invalid/x")]
)
async def test_an_origin_that_answers_with_nothing_of_use(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    origin.fault(item.path, fault)
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        assert await cut_after_s(proxy, item.path) < AT_LAST_S


async def test_all_who_wait_are_told(tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem) -> None:
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        await origin.stop()
        waited_s = await asyncio.gather(*(cut_after_s(proxy, item.path) for _ in range(5)))
        assert max(waited_s) < AT_LAST_S
        assert await cuts(proxy) == {"unreachable": 5}


async def test_who_waits_at_another_worker_is_told_too(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Which only sees that the file does not grow."""
    async with (
        patient_proxy(tmp_path / "data", mirror) as one,
        patient_proxy(tmp_path / "data", mirror) as two,
    ):
        await origin.stop()
        first = asyncio.create_task(cut_after_s(one, item.path))
        second = asyncio.create_task(cut_after_s(two, item.path))
        assert await first < AT_LAST_S
        assert await second < AT_LAST_S


async def test_an_origin_that_takes_its_time_is_waited_for(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Nothing speaks against it, and LXD waits for half a minute."""
    origin.fault(item.path, Fault(latency_s=3 * WITHIN_S))
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        got = await proxy.read(item.path)
        assert (got.body, got.is_complete) == (item.read(), True)
        assert await cuts(proxy) == {}


async def test_an_origin_that_comes_back_in_time_is_no_trouble(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    origin.fault(item.path, Fault(refuse=True), times=1)
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        assert await cuts(proxy) == {}


async def test_a_part_that_is_not_here_yet_ends_in_time_too(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """The beginning is here, what is asked for is not."""
    origin.fault(item.path, Fault(cut_after=MIB), times=1)
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        origin.fault(item.path, Fault(refuse=True))
        beginning = asyncio.create_task(proxy.read(item.path))
        began = time.monotonic()
        got = await proxy.read(item.path, Range=f"bytes={2 * MIB}-")
        assert time.monotonic() - began < AT_LAST_S
        assert (got.body, got.is_complete) == (b"", False)
        origin.heal()
        assert (await beginning).body == item.read()


async def test_what_the_store_cannot_take_ends_in_time_too(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Each client has a transfer of its own then."""
    no_room = StoreLimits(min_free_bytes=2**60)
    async with patient_proxy(tmp_path / "data", mirror, cache=no_room) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        await origin.stop()
        assert await cut_after_s(proxy, item.path) < AT_LAST_S


async def test_the_operator_reads_of_it(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    async with patient_proxy(tmp_path / "data", mirror) as proxy:
        await origin.stop()
        await cut_after_s(proxy, item.path)
        async with proxy.get("/-/stats") as reply:
            stats = await reply.json()
        page, metrics = [(await proxy.read(path)).body.decode() for path in ("/-/", "/-/metrics")]
    (problem,) = [one for one in stats["problems"] if one["subject"] == "clients"]
    assert problem["text"] == "had 1 reply cut in the last hour: 1 because no origin could be had"
    assert stats["cuts"]["last_hour"]["unreachable"] == 1
    assert problem["text"] in page
    assert "replies cut, last hour" in page
    assert 'sstream_proxy_cut_replies_total{outcome="unreachable"} 1.0\n' in metrics

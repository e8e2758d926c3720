"""An origin whose connections all go to other items of ours: who asks again gets the item in its turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import Reply, read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.store.limits import StoreLimits

WITHIN_S = 0.3
"""So long a client waits where no origin can be had."""
BUSY_S = 2.0
"""So long each item takes, and a refusal is no chance any more."""
CUT = 0
"""No status: the connection ends before one."""
SIZE = 200_000
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
PAGE = b"<html><body>One connection at a time, please.</body></html>"
REFUSALS = {
    "a page": Fault(body=PAGE),
    "a page of any length": Fault(body=PAGE, chunked=True),
    "503": Fault(status=503),
    "429": Fault(status=429, headers={"Retry-After": "1"}),
    "it hangs up": Fault(refuse=True),
    "it resets": Fault(cut_after=0),
    "it never answers": Fault(latency_s=60),
}


@pytest.fixture
def items(tree: SignedTree) -> list[TreeItem]:
    items = [tree.add_item("product", "1", f"file-{n}", size=SIZE) for n in range(3)]
    tree.publish()
    return items


@asynccontextmanager
async def proxy_of(
    data_dir: Path, mirror: Mirror, *, cache: StoreLimits | None = None
) -> AsyncIterator[RunningProxy]:
    config = make_config(data_dir, mirror)
    feed = FeedOptions(first_byte_within_s=WITHIN_S, drip_interval_s=0.2)
    config = replace(config, feed=feed, cache=cache or config.cache)
    async with run_proxy(config) as proxy:
        assert (await proxy.read(LIST)).status == 200
        yield proxy


def one_at_a_time(origin: Origin, refusal: Fault, busy_s: float = BUSY_S) -> None:
    origin.fault("*file-*", Fault(rate_bytes_s=SIZE / busy_s))
    origin.allow("*file-*", 1, refusal)


async def ask_until_it_comes(proxy: RunningProxy, item: TreeItem) -> Reply:
    """Ask as MAAS does, which has 10 seconds of patience, and asks again when it is cut off."""
    async with asyncio.timeout(60):
        while (reply := await read(proxy.url(item.path))).status == CUT:  # noqa: ASYNC110 - a client's pause
            await asyncio.sleep(WITHIN_S)
    return reply


async def ask_one_after_the_other(proxy: RunningProxy, origin: Origin, items: list[TreeItem]) -> list[Reply]:
    """Ask for the others once the origin is busy with the first."""
    first = asyncio.create_task(read(proxy.url(items[0].path)))
    await origin.arrived(items[0].path)
    await asyncio.sleep(0.1)
    return [*await asyncio.gather(*(ask_until_it_comes(proxy, one) for one in items[1:])), await first]


async def problems(proxy: RunningProxy, origin: Origin) -> object:
    async with proxy.get("/-/stats") as reply:
        return (await reply.json())["origins"][origin.url]["last_wrong"]


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_who_asks_again_for_an_item_gets_it_when_an_earlier_one_has_come(
    tmp_path: Path, mirror: Mirror, origin: Origin, items: list[TreeItem], refusal: Fault
) -> None:
    """However the origin refuses: it is asked again, not too often, and nothing is held against it."""
    async with proxy_of(tmp_path / "data", mirror) as proxy:
        one_at_a_time(origin, refusal)
        replies = await ask_one_after_the_other(proxy, origin, items)
        assert [reply.body for reply in replies] == [items[n].read() for n in (1, 2, 0)]
        assert await problems(proxy, origin) is None
    assert len(origin.gets("*file-*")) < 40


@pytest.mark.parametrize("refusal", [REFUSALS["a page"], REFUSALS["a page of any length"]])
async def test_what_the_store_cannot_take_comes_in_its_turn_too(
    tmp_path: Path, mirror: Mirror, origin: Origin, items: list[TreeItem], refusal: Fault
) -> None:
    async with proxy_of(tmp_path / "data", mirror, cache=StoreLimits(min_free_bytes=2**60)) as proxy:
        one_at_a_time(origin, refusal)
        replies = await ask_one_after_the_other(proxy, origin, items[:2])
        assert [reply.body for reply in replies] == [items[n].read() for n in (1, 0)]


async def test_who_waits_is_cut_off_in_time_to_ask_again(
    tmp_path: Path, mirror: Mirror, origin: Origin, items: list[TreeItem]
) -> None:
    """Silence beyond its patience costs MAAS two attempts, and an answer of 5xx is the last word for it."""
    async with proxy_of(tmp_path / "data", mirror) as proxy:
        one_at_a_time(origin, REFUSALS["a page"], busy_s=20)
        asking = asyncio.create_task(read(proxy.url(items[0].path)))
        await origin.arrived(items[0].path)
        await asyncio.sleep(0.1)
        async with asyncio.timeout(10):
            reply = await read(proxy.url(items[1].path))
        asking.cancel()
        assert await problems(proxy, origin) is None
    assert reply.status == CUT


async def test_a_page_is_a_wrong_copy_where_nothing_else_comes_from_the_origin(
    tmp_path: Path, mirror: Mirror, origin: Origin, items: list[TreeItem]
) -> None:
    """Also if it is sent for several items at a time, none of which comes."""
    async with proxy_of(tmp_path / "data", mirror) as proxy:
        origin.fault("*file-*", REFUSALS["a page"])
        replies = await asyncio.gather(*(read(proxy.url(one.path)) for one in items))
        assert [reply.status for reply in replies] == [CUT, CUT, CUT]
        assert await problems(proxy, origin) is not None
        assert [origin.count(one.path) for one in items] == [1, 1, 1]


async def test_another_origin_gives_at_once_what_a_full_one_refuses(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, items: list[TreeItem]
) -> None:
    async with Origin(tree.root) as spare:
        both = replace(mirror, origins=(origin.url, spare.url))
        async with proxy_of(tmp_path / "data", both) as proxy:
            one_at_a_time(origin, REFUSALS["a page"])
            replies = await ask_one_after_the_other(proxy, origin, items)
            assert [reply.body for reply in replies] == [items[n].read() for n in (1, 2, 0)]
            assert await problems(proxy, origin) is None
        assert [spare.count(one.path) for one in items] == [0, 1, 1]

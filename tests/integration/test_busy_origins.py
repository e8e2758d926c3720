"""An origin that sends and sends, and nothing of what was asked for, is as good as a silent one."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
SIZE = 200_000
STALL_S = 0.5
IN_TIME_S = 5.0
"""Long after the stall, long before all patience ends."""
OPTIONS = UpstreamOptions(connect_timeout_s=60, stall_timeout_s=STALL_S, give_up_after_s=60)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
HINT = b"HTTP/1.1 102 Processing\r\n\r\n"

BUSY = {
    "a head that drips in": Fault(head=b"HTTP/1.1 200 OK\r\nX-Long: ", endless=b"y"),
    "a field after the other": Fault(head=b"HTTP/1.1 200 OK\r\n", endless=b"X-More: y\r\n"),
    "it will answer, it says": Fault(head=HINT, endless=HINT),
    "blank lines": Fault(head=b"\r\n", endless=b"\r\n"),
    "the size of a chunk": Fault(head=CHUNKED, endless=b"0"),
    "what a chunk is called": Fault(head=CHUNKED + b"5;name=", endless=b"x" * 100),
    "trailers of nothing": Fault(head=CHUNKED + b"0\r\n", endless=b"X-T: y\r\n"),
}


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=SIZE)
    tree.publish()
    return item


@pytest.fixture
async def two(tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin) -> AsyncIterator[RunningProxy]:
    both = replace(mirror, origins=(origin.url, spare.url))
    async with run_proxy(make_config(tmp_path / "data", both, upstream=OPTIONS)) as proxy:
        yield proxy


@pytest.mark.parametrize("fault", BUSY.values(), ids=BUSY)
@pytest.mark.parametrize("kind", ["index", "list", "item", "rest"])
async def test_another_origin_is_asked_after_the_stall(
    two: RunningProxy,
    origin: Origin,
    spare: Origin,
    tree: SignedTree,
    item: TreeItem,
    kind: str,
    fault: Fault,
) -> None:
    path = {"index": INDEX, "list": LIST}.get(kind, item.path)
    if kind == "rest":
        await read(two.url(INDEX))
        origin.fault(path, Fault(close_after=SIZE // 2), times=1)
        spare.fault(path, Fault(status=503), times=2)
    origin.fault(path, fault)
    began = time.monotonic()

    got = [await read(two.url(one)) for one in (INDEX, LIST, item.path)]

    assert [one.body for one in got] == [(tree.root / one).read_bytes() for one in (INDEX, LIST, item.path)]
    assert time.monotonic() - began < IN_TIME_S
    assert origin.count(path) >= (2 if kind == "rest" else 1)
    await two.fills_ended()
    assert not await asyncio.to_thread(two.cache.storage.reservations.arriving)


@pytest.mark.parametrize("path", [INDEX, LIST])
async def test_an_index_or_list_that_only_trickles_is_left_for_another_origin(
    two: RunningProxy, origin: Origin, spare: Origin, tree: SignedTree, item: TreeItem, path: str
) -> None:
    origin.fault(path, Fault(rate_bytes_s=20))
    began = time.monotonic()

    got = await read(two.url(INDEX))

    assert got.body == (tree.root / INDEX).read_bytes()
    assert (await read(two.url(LIST))).body == (tree.root / LIST).read_bytes()
    assert time.monotonic() - began < IN_TIME_S
    assert spare.count(path)
    assert (await read(two.url(item.path))).body == item.read()


async def test_the_last_origin_may_take_its_time_over_an_index(
    two: RunningProxy, origin: Origin, spare: Origin, tree: SignedTree
) -> None:
    tree.publish()
    size = (tree.root / INDEX).stat().st_size
    origin.fault(INDEX, Fault(refuse=True))
    spare.fault(INDEX, Fault(rate_bytes_s=size / 2))

    assert (await read(two.url(INDEX))).body == (tree.root / INDEX).read_bytes()


async def test_an_item_that_is_here_needs_no_end_of_the_answer(
    two: RunningProxy, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    """All its bytes have come, but trailers go on and on: the hash says that nothing is missing."""
    await read(two.url(INDEX))
    whole = CHUNKED + b"%x\r\n" % SIZE + item.read() + b"\r\n0\r\n"
    origin.fault(item.path, Fault(head=whole, endless=b"X-T: y\r\n"))

    assert (await read(two.url(item.path))).body == item.read()
    assert spare.count(item.path) == 0


async def test_an_item_that_comes_encoded_is_asked_for_elsewhere_before_a_client_gets_that(
    two: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    await read(two.url(INDEX))
    origin.fault(item.path, Fault(gzip=True, chunked=True))

    got = await read(two.url(item.path))

    assert got.body == item.read()
    assert origin.count(item.path) == 1


async def test_an_item_that_is_only_said_to_be_encoded_is_taken_when_nobody_else_has_it(
    two: RunningProxy, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    """Some servers say so of whatever is compressed itself."""
    await read(two.url(INDEX))
    origin.fault(item.path, Fault(content_encoding="x-gzip", chunked=True))
    spare.fault(item.path, Fault(refuse=True))

    assert (await read(two.url(item.path))).body == item.read()

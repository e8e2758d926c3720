"""An item that answers 403: object stores say so for what they do not have, walls for what they hide."""

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

PATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=1, give_up_after_s=60)
INDEX = "streams/v1/index.sjson"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item."""
    item = tree.add_item("product", "1", "kernel", size=300_000)
    tree.publish()
    return item


@pytest.fixture
async def two(tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin) -> AsyncIterator[RunningProxy]:
    """Return a proxy with two origins and much patience."""
    both = replace(mirror, origins=(origin.url, spare.url))
    async with run_proxy(make_config(tmp_path / "data", both, upstream=PATIENT)) as proxy:
        yield proxy


@pytest.mark.parametrize("other", [403, 404, 410])
async def test_what_all_origins_forbid_is_answered_soon_and_in_true_words(
    two: RunningProxy,
    origin: Origin,
    spare: Origin,
    item: TreeItem,
    other: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Cut, not 404: it may be a wall that lets us through later. Asked once more after a moment."""
    origin.fault(item.path, Fault(status=403))
    spare.fault(item.path, Fault(status=other))
    began = time.monotonic()

    reply = await read(two.url(item.path))

    assert reply.status == 0
    assert time.monotonic() - began < 10
    assert origin.count(item.path) == 2
    assert f"no origin gives {item.path}: http" in caplog.text
    assert "it answered with status 403" in caplog.text
    assert "Object stores say so for what they do not have" in caplog.text

    origin.heal()
    assert (await read(two.url(item.path))).body == item.read()


async def test_a_403_that_is_over_soon_is_not_seen(two: RunningProxy, origin: Origin, item: TreeItem) -> None:
    await read(two.url(INDEX))
    origin.fault("*", Fault(status=403), times=1)

    assert (await read(two.url(item.path))).body == item.read()


async def test_the_next_origin_is_asked_at_once_and_the_first_is_not_shunned_for_a_403(
    two: RunningProxy, origin: Origin, spare: Origin, tree: SignedTree, item: TreeItem
) -> None:
    there = tree.add_item("product", "2", "kernel", size=300_000)
    tree.publish()
    origin.fault(item.path, Fault(status=403))
    began = time.monotonic()

    assert (await read(two.url(item.path))).body == item.read()
    assert time.monotonic() - began < 10
    assert (await read(two.url(there.path))).body == there.read()
    assert (spare.count(item.path), spare.count(there.path)) == (1, 0)


@pytest.mark.parametrize("absence", [403, 404])
async def test_a_store_that_forbids_what_it_lacks_has_the_other_spelling(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, absence: int
) -> None:
    """The file is stored under a literal %3A; the list and clients write a colon."""
    item = tree.add_item("product", "1", "kernel", path="a:b/kernel")
    (tree.root / "a%3Ab").mkdir()
    (tree.root / "a:b/kernel").rename(tree.root / "a%3Ab/kernel")
    tree.publish()
    origin.fault("a:b/kernel", Fault(status=absence))

    reply = await read(proxy.url("a:b/kernel"))

    assert (reply.status, reply.body) == (200, (tree.root / "a%3Ab/kernel").read_bytes())
    assert item.size == len(reply.body)

"""Whatever head a reply has: its bytes are used if nothing is in doubt, else another origin is asked."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.odd_heads import FORGIVABLE, HOPELESS, filled
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

SIZE = 70_000
INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
NEVER_RIGHT = {name: head for name, head in HOPELESS.items() if name != "304 unasked"}
IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=0.5, give_up_after_s=0.05)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=SIZE)
    tree.publish()
    return item


@pytest.fixture
async def one(tmp_path: Path, mirror: Mirror, clock: Clock) -> AsyncIterator[RunningProxy]:
    """Return a proxy with one origin, and little patience."""
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=IMPATIENT), clock) as proxy:
        yield proxy


@pytest.fixture
async def two(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, spare: Origin
) -> AsyncIterator[RunningProxy]:
    """Return a proxy with two origins."""
    both = replace(mirror, origins=(origin.url, spare.url))
    async with run_proxy(make_config(tmp_path / "data", both, upstream=IMPATIENT), clock) as proxy:
        yield proxy


def misbehave(origin: Origin, tree: SignedTree, path: str, template: bytes) -> None:
    """Let an origin send a head for a path."""
    size = (tree.root / path).stat().st_size
    origin.fault(path, Fault(head=filled(template, size), close_after=size))


def assert_no_traceback(caplog: pytest.LogCaptureFixture) -> None:
    """Check that nobody logged a crash, and that each line can be written."""
    for record in caplog.records:
        assert record.exc_info is None, record.getMessage()
        record.getMessage().encode()


@pytest.mark.parametrize("template", FORGIVABLE.values(), ids=FORGIVABLE)
async def test_a_careless_head_is_no_reason_to_refuse_bytes_that_are_proved(
    one: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem, template: bytes
) -> None:
    for path in (INDEX, LIST, item.path):
        misbehave(origin, tree, path, template)

    index, listed, got = [await read(one.url(path)) for path in (INDEX, LIST, item.path)]

    assert index.body == (tree.root / INDEX).read_bytes()
    assert listed.body == (tree.root / LIST).read_bytes()
    assert (got.status, got.body) == (200, item.read())
    assert origin.count(item.path) == 1


@pytest.mark.parametrize("template", FORGIVABLE.values(), ids=FORGIVABLE)
async def test_what_came_with_a_careless_head_can_be_asked_for_again(
    one: RunningProxy, origin: Origin, tree: SignedTree, clock: Clock, template: bytes
) -> None:
    """Whatever validators came with it: they do not keep the mirror from what is published next."""
    tree.publish()
    misbehave(origin, tree, INDEX, template)
    assert (await read(one.url(INDEX))).status == 200
    origin.heal()
    tree.add_item(PRODUCT, "20260101", "squashfs", size=SIZE)
    tree.publish()
    clock.advance(3600)

    await one.documents.checks.revalidate()

    assert (await read(one.url(INDEX))).body == (tree.root / INDEX).read_bytes()


@pytest.mark.parametrize("template", HOPELESS.values(), ids=HOPELESS)
async def test_a_second_origin_makes_up_for_a_hopeless_reply(
    two: RunningProxy,
    origin: Origin,
    tree: SignedTree,
    item: TreeItem,
    clock: Clock,
    template: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    misbehave(origin, tree, item.path, template)
    got = await read(two.url(item.path))
    assert (got.status, got.body) == (200, item.read())
    assert origin.count(item.path)

    tree.add_item(PRODUCT, "20260101", "squashfs", size=SIZE)
    tree.publish()
    misbehave(origin, tree, LIST, template)
    clock.advance(3600)
    await two.documents.checks.revalidate()
    assert origin.count(LIST)
    assert (await read(two.url(INDEX))).body == (tree.root / INDEX).read_bytes()
    assert (await read(two.url(LIST))).body == (tree.root / LIST).read_bytes()
    assert_no_traceback(caplog)


@pytest.mark.parametrize("template", NEVER_RIGHT.values(), ids=NEVER_RIGHT)
async def test_a_hopeless_reply_of_the_only_origin_is_told_and_forgotten_when_it_is_over(
    one: RunningProxy,
    origin: Origin,
    tree: SignedTree,
    item: TreeItem,
    clock: Clock,
    template: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is served goes on; the check's failure is in the figures; nothing stays reserved."""
    assert (await read(one.url(INDEX))).status == 200
    for path in (INDEX, item.path):
        misbehave(origin, tree, path, template)
    clock.advance(3600)
    await one.documents.checks.revalidate()
    got = await read(one.url(item.path))
    await one.fills_ended()

    status = (await one.cache.status())["test"]
    assert status["is_ready"]
    assert status["failures"] == 1
    assert origin.url in status["last_problem"]
    status["last_problem"].encode()
    assert got.status in {0, 404} or not got.is_complete
    assert not one.store.has(Digest(item.digest))
    assert not await asyncio.to_thread(one.cache.storage.reservations.arriving)

    origin.heal()
    clock.advance(3600)
    await one.documents.checks.revalidate()
    assert not (await one.cache.status())["test"]["failures"]
    assert (await read(one.url(item.path))).body == item.read()
    assert_no_traceback(caplog)


async def test_a_crash_of_a_check_is_told_and_the_mirror_is_checked_again(
    one: RunningProxy, tree: SignedTree, item: TreeItem, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Here the order of its origins cannot be read; all workers and the page tell of it."""
    assert (await read(one.url(INDEX))).status == 200
    route = one.documents.route
    origins, route._origins = route._origins, (object(),)  # type: ignore[assignment]
    clock.advance(3600)

    await one.documents.checks.revalidate()

    route._origins = origins
    status = (await one.cache.status())["test"]
    assert status["failures"] == 1
    assert "an unforeseen error, please report it: AttributeError" in status["last_problem"]
    assert (await read(one.url(item.path))).body == item.read()
    tree.publish()
    clock.advance(3600)
    await one.documents.checks.revalidate()
    assert not (await one.cache.status())["test"]["failures"]
    assert (await read(one.url(INDEX))).body == (tree.root / INDEX).read_bytes()
    assert_no_traceback(caplog)

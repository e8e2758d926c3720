"""What a failing disk leaves behind, and how it is mended; `processes/test_disk_faults.py` has the table."""

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest
from support.failing_disk import in_the_way, overwrite
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.jobs.scrub import Scrubber, ScrubPolicy
from proxy.jobs.upkeep import Upkeep
from proxy.mirror import Mirror
from proxy.store.blob_records import BlobRecords
from proxy.store.limits import StoreLimits

INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=100_000)
    tree.publish()
    return item


def upkeep_of(proxy: RunningProxy, clock: Clock) -> Upkeep:
    return Upkeep(proxy.cache, StoreLimits(), Scrubber(proxy.cache, ScrubPolicy(), clock), clock)


async def test_bytes_that_the_disk_did_not_take_are_not_believed_later(
    proxy: RunningProxy, item: TreeItem, origin: Origin
) -> None:
    """A disk that failed once says nothing the second time, though the bytes may be nowhere."""
    await proxy.read(INDEX)
    with in_the_way(proxy.layout.blobs):
        assert (await proxy.read(item.path)).body == item.read()
        await proxy.fills_ended()
        assert not (proxy.layout.incoming / item.digest).exists()

    assert (await proxy.read(item.path)).body == item.read()
    await proxy.fills_ended()

    assert (await proxy.read(item.path)).cache_status == "hit"
    assert [request.headers.get("Range") for request in origin.gets(item.path)] == [None, None]


async def test_lists_that_the_store_cannot_give_come_past_it(
    proxy: RunningProxy, item: TreeItem, tree: SignedTree
) -> None:
    index = (tree.root / INDEX).read_bytes()
    await proxy.read(item.path)
    with in_the_way(proxy.layout.blobs):
        passed = await proxy.read(INDEX)
        tree.publish()
        newer = await proxy.read(INDEX)

    assert (passed.body, passed.cache_status) == (index, "fwd=uri-miss; detail=not-stored")
    # What upstream has now can neither be stored nor is it what was proved.
    assert newer.status == 503


async def test_what_was_replaced_lately_is_served_once_the_ledger_can_be_read_again(
    tmp_path: Path, mirror: Mirror, clock: Clock, tree: SignedTree
) -> None:
    """At a start without it the index is served from the copy; the rest follows without a check upstream."""
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    old_bytes = old.read()
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        await proxy.read(old.path)
        await proxy.fills_ended()
        tree.remove_version("20250601")
        tree.publish()
        await proxy.documents.checks.revalidate()
        index = (await proxy.read(INDEX)).body

    with contextlib.ExitStack() as fault:
        fault.enter_context(in_the_way(config.data_dir / "ledger"))
        async with run_proxy(config, clock) as proxy:
            assert (await proxy.read(INDEX)).body == index
            assert (await proxy.read(old.path)).status != 200
            assert not await proxy.documents.knows_what_it_lists()

            fault.close()
            async with asyncio.timeout(20):
                while not await proxy.documents.knows_what_it_lists():
                    clock.advance(5)
                    await asyncio.sleep(0.05)
            assert (await proxy.read(old.path)).body == old_bytes


async def test_records_of_replaced_generations_that_nobody_can_read_cost_nothing(
    tmp_path: Path, mirror: Mirror, clock: Clock, item: TreeItem
) -> None:
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        await proxy.read(item.path)
        await proxy.fills_ended()
        ledger = proxy.cache.storage.ledger
        now = clock()
        await asyncio.to_thread(
            ledger.write, "retired/test", [[{"number": 1}, now], ["x", now], 7, [1, 2, 3]]
        )

    async with run_proxy(config, clock) as proxy:
        assert (await proxy.read(INDEX)).status == 200
        assert (await proxy.read(item.path)).cache_status == "hit"


async def test_an_overwritten_ledger_is_made_anew_while_the_proxy_runs(
    proxy: RunningProxy, clock: Clock, item: TreeItem
) -> None:
    """The keeper sets it aside; other processes open the new one by themselves."""
    await proxy.read(item.path)
    await proxy.fills_ended()
    ledger = proxy.cache.storage.ledger
    before = await asyncio.to_thread(
        lambda: {one.digest: one.size_bytes for one in BlobRecords(ledger).usages()}
    )
    for table in ("records", "blobs"):
        overwrite(ledger.directory / table / "cache.db")

    await upkeep_of(proxy, clock).begin()

    after = await asyncio.to_thread(
        lambda: {one.digest: one.size_bytes for one in BlobRecords(ledger).usages()}
    )
    assert after == before
    assert await proxy.cache.recorded("test") is not None
    assert len(list(ledger.directory.glob("damaged-*"))) == 2
    assert (await proxy.read(item.path)).cache_status == "hit"


async def test_a_keeper_waits_for_a_disk_that_fails(
    proxy: RunningProxy, clock: Clock, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.jobs.upkeep._BEGIN_PAUSE_S", 0.01)
    await proxy.read(item.path)
    await proxy.fills_ended()
    with in_the_way(proxy.layout.incoming):
        beginning = asyncio.create_task(upkeep_of(proxy, clock).begin())
        await asyncio.wait([beginning], timeout=0.2)
        assert not beginning.done()

    await beginning


async def test_folders_that_somebody_removed_are_made_again(proxy: RunningProxy, item: TreeItem) -> None:
    await proxy.read(INDEX)
    for folder in (proxy.layout.incoming, proxy.layout.blobs.parent, proxy.layout.quarantine):
        shutil.rmtree(folder)

    assert (await proxy.read(item.path)).body == item.read()
    await proxy.fills_ended()
    assert proxy.store.problem(Digest(item.digest), item.size, deep=True) is None

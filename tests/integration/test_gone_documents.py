"""What has left the lists stays served for a while; what the store has lost is fetched again."""

import asyncio
from pathlib import Path

import pytest
from support.failing_disk import in_the_way
from support.generations import (
    HOUR_S,
    INDEX,
    LIST,
    PRODUCT,
    SECOND_LIST,
    STALE_S,
    bodies,
    check_ended,
    on_disk,
    stats,
)
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

# What has left the lists


async def test_dropped_items_and_lists_stay_served_for_a_day(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """Clients that read the old lists may still come for what they name."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    other = tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    kept = await bodies(proxy, SECOND_LIST, old.path, other.path)
    tree.remove_version("20250601")
    del tree._documents["second"]
    tree.publish()
    await proxy.documents.checks.revalidate()
    dropped = (SECOND_LIST, old.path, other.path)

    clock.advance(24 * HOUR_S - 1)
    assert await bodies(proxy, *dropped) == kept
    await check_ended(proxy)

    clock.advance(1)
    assert [(await proxy.read(path)).status for path in dropped] == [404, 404, 404]


async def test_dropped_items_stay_served_over_a_restart(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        [kept] = await bodies(proxy, old.path)
        await proxy.fills_ended()
        tree.remove_version("20250601")
        tree.publish()
        await proxy.documents.checks.revalidate()

    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, old.path) == [kept]
        clock.advance(24 * HOUR_S)
        assert (await proxy.read(old.path)).status == 404
    async with run_proxy(config, clock) as proxy:
        assert (await proxy.read(old.path)).status == 404


async def test_a_listed_item_that_is_gone_upstream_makes_the_proxy_look_for_new_lists(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """However fresh it thinks its own to be."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.remove_version("20250701")
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    clock.advance(16)

    assert (await proxy.read(item.path)).status == 404
    await check_ended(proxy)

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_path_whose_bytes_changed_is_served_as_the_new_list_says(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(item.path)
    changed = tree.add_item(PRODUCT, "20250701", "squashfs", path=item.path, seed="changed")
    tree.publish()

    await proxy.documents.checks.revalidate()

    assert (await proxy.read(item.path)).body == changed.read()
    assert changed.digest != item.digest


# Lost documents


@pytest.mark.parametrize("path", [INDEX, LIST])
@pytest.mark.parametrize("damage", ["removed", "cut short"])
async def test_a_lost_document_is_fetched_again(
    proxy: RunningProxy, tree: SignedTree, path: str, damage: str
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    good = await bodies(proxy, INDEX, LIST)
    document = proxy.documents._editions.served.generation.documents[path]  # type: ignore[union-attr]
    blob = proxy.layout.path(document.digest)
    blob_bytes = blob.read_bytes()
    if damage == "removed":
        blob.unlink()
    else:
        blob.chmod(0o644)
        blob.write_bytes(blob.read_bytes()[:-1])

    assert await bodies(proxy, path) == [blob_bytes]
    assert await bodies(proxy, INDEX, LIST) == good


@pytest.mark.parametrize("path", [INDEX, LIST])
@pytest.mark.parametrize("is_restarted", [False, True], ids=["running", "restarted"])
async def test_a_lost_text_of_a_document_is_fetched_again(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock, path: str, is_restarted: bool
) -> None:
    """What the signature covers is kept beside the document, for the proxy's own reading."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        good = await bodies(proxy, INDEX, LIST)
        document = proxy.documents._editions.served.generation.documents[path]  # type: ignore[union-attr]
        proxy.layout.path(document.text).unlink()
        if not is_restarted:
            clock.advance(STALE_S)
            await proxy.documents.checks.revalidate()
            assert ((await stats(proxy))["failures"], (await proxy.read(INDEX)).cache_status) == (0, "hit")
            tree.publish()
            await proxy.documents.checks.revalidate()
            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
            return

    clock.advance(STALE_S)
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, item.path) == [*good, item.read()]
        await check_ended(proxy)
        assert ((await stats(proxy))["failures"], (await proxy.read(INDEX)).cache_status) == (0, "hit")


async def test_a_store_that_lost_everything_is_filled_again(
    proxy: RunningProxy, tree: SignedTree, tmp_path: Path
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    good = await bodies(proxy, INDEX, LIST)
    for blob in (tmp_path / "data/blobs/sha256").glob("*/*"):
        blob.unlink()

    await proxy.read(INDEX)

    assert await bodies(proxy, INDEX, LIST) == good


async def test_a_store_that_cannot_be_written_leaves_the_last_generation_in_place(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock, tmp_path: Path
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST)
    tree.publish()
    clock.advance(STALE_S)
    origin.clear()

    with in_the_way(tmp_path / "data/incoming"):
        for _ in range(5):
            assert await bodies(proxy, INDEX, LIST) == old
            await check_ended(proxy)
    assert origin.count(INDEX) == 1

    clock.advance(16)
    await proxy.read(INDEX)
    await check_ended(proxy)
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_store_that_cannot_be_written_is_told_when_there_is_no_generation(
    proxy: RunningProxy, tree: SignedTree, clock: Clock, tmp_path: Path
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    with in_the_way(tmp_path / "data/incoming"):
        reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert b"a document cannot be stored: " in reply.body
    clock.advance(16)
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_demanded_check_is_over_though_others_keep_demanding(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    over = asyncio.Event()

    async def demand() -> None:
        while not over.is_set():
            await proxy.documents.checks.revalidate()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(demand())
        origin.clear()
        await origin.arrived(INDEX)
        await proxy.documents.checks.revalidate()
        over.set()

    assert origin.count(INDEX) < 10

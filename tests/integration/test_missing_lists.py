"""An index whose lists are missing, late or older waits; one that names too much is not followed."""

from pathlib import Path

from support.generations import (
    HOUR_S,
    INDEX,
    LIST,
    PRODUCT,
    SECOND_LIST,
    bodies,
    on_disk,
    said_by,
    signed,
    stats,
)
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.documents.freshness import FreshnessPolicy
from proxy.mirror import Mirror


async def test_a_list_that_upstream_does_not_have_is_passed_over(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """Real indexes name lists that died years ago."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.index_entries["dead"] = {"path": "streams/v1/dead.sjson", "format": "products:1.0"}
    tree.publish()

    assert await bodies(proxy, INDEX, LIST, item.path) == on_disk(tree, INDEX, LIST, item.path)
    assert (await proxy.read("streams/v1/dead.sjson")).status == 404
    said = await stats(proxy)
    assert (said["absent"], said["failures"], said["refusals"]) == (["streams/v1/dead.sjson"], 0, 0)


async def test_a_missing_list_is_served_once_it_appears(proxy: RunningProxy, tree: SignedTree) -> None:
    """Also when the index that names it stays the same."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    item = tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    [late] = on_disk(tree, SECOND_LIST)
    (tree.root / SECOND_LIST).unlink()
    [index] = await bodies(proxy, INDEX)
    assert (await proxy.read(item.path)).status == 404

    tree.write(SECOND_LIST, late)
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, SECOND_LIST, item.path) == [index, late, item.read()]
    assert (await stats(proxy))["absent"] == []


async def test_a_list_that_vanishes_holds_the_new_index_back_for_a_while(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """It may be an upload that is not finished; later it counts as gone."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    gone = tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST, SECOND_LIST)
    new = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    (tree.root / SECOND_LIST).unlink()

    await proxy.documents.checks.revalidate()
    clock.advance(6 * HOUR_S - 1)
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST, SECOND_LIST) == old
    assert (await proxy.read(new.path)).status == 404
    said = await stats(proxy)
    assert said["failures"] == 2
    assert said["held_back_since"] is not None
    assert (
        f"the new index is held back: {SECOND_LIST} is named by the index and has vanished"
        in (said["last_problem"])
    )

    clock.advance(1)
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST, new.path) == on_disk(tree, INDEX, LIST, new.path)
    assert await bodies(proxy, SECOND_LIST, gone.path) == [old[2], gone.read()]
    said = await stats(proxy)
    assert (said["failures"], said["held_back_since"]) == (0, None)
    clock.advance(24 * HOUR_S)
    await proxy.documents.checks.revalidate()
    assert [(await proxy.read(path)).status for path in (SECOND_LIST, gone.path)] == [404, 404]


async def test_a_list_that_comes_back_in_time_ends_the_holding_back(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()
    [late] = on_disk(tree, LIST)
    (tree.root / LIST).unlink()
    await proxy.documents.checks.revalidate()
    assert (await stats(proxy))["held_back_since"] is not None

    tree.write(LIST, late)
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert (await stats(proxy))["held_back_since"] is None


async def test_a_policy_of_no_holding_back_takes_a_new_index_at_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    config = make_config(tmp_path / "data", mirror, freshness=FreshnessPolicy(hold_back_s=0))
    async with run_proxy(config) as proxy:
        await proxy.read(INDEX)
        tree.publish()
        (tree.root / SECOND_LIST).unlink()

        await proxy.documents.checks.revalidate()

        assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_an_index_ahead_of_its_list_is_held_back_until_the_list_follows(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST)
    tree.publish()
    [late] = on_disk(tree, LIST)
    tree.write(LIST, old[1])

    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == old
    assert f"{LIST} is older than the index says" in (await stats(proxy))["last_problem"]

    tree.write(LIST, late)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_indexes_may_name_indexes(proxy: RunningProxy, tree: SignedTree) -> None:
    """Also one that leads back to itself."""
    nested = "streams/v1/nested.sjson"
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    whole = said_by(on_disk(tree, INDEX)[0])
    back = {"path": INDEX, "format": "index:1.0"}
    tree.write(nested, signed(tree, whole | {"index": whole["index"] | {"back": back}}))
    tree.write(INDEX, signed(tree, whole | {"index": {"nested": {"path": nested, "format": "index:1.0"}}}))

    paths = (INDEX, nested, LIST, item.path)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)
    assert (await stats(proxy))["documents"] == 3


async def test_an_index_of_absurd_length_is_not_followed(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.index_entries = {
        f"list{n}": {"path": f"streams/v1/{n}.sjson", "format": "products:1.0"} for n in range(1001)
    }
    tree.publish()

    reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert b"its index names more than 1000 documents" in reply.body
    assert origin.count("streams/v1/*") == 1

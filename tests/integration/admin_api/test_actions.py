"""What the operator's actions do over HTTP."""

from dataclasses import replace
from typing import Any

import pytest
from support.admin_api import (
    INDEX,
    PRODUCT,
    act,
    fetch,
    here,
    pinned,
    refused,
)
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, run_proxy
from support.tree import SignedTree, TreeItem


def aims(items: dict[str, TreeItem]) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Return the ways to say which items are meant, and what each means."""
    item = items["20250718/squashfs"]
    return {
        "path": ({"filters": [f"path={item.path}"]}, {"20250718/squashfs"}),
        "version": (
            {"filters": ["version_name=20250701"]},
            {"20250701/squashfs", "20250701/boot-kernel"},
        ),
        "newest": ({"max": 1}, {"20250718/squashfs", "20250718/boot-kernel"}),
        "digest": ({"digests": [item.digest.upper()]}, {"20250718/squashfs"}),
        "mirror": ({"mirrors": ["second"], "filters": ["ftype=squashfs"]},
                   {"20250718/squashfs", "20250701/squashfs"}),
        "both": (
            {"digests": [item.digest], "filters": ["version_name=20250701"]},
            {"20250718/squashfs", "20250701/squashfs", "20250701/boot-kernel"},
        ),
    }  # fmt: skip


AIMS = pytest.mark.parametrize("aim", ["path", "version", "newest", "digest", "mirror", "both"])


@AIMS
async def test_a_pin_keeps_what_is_aimed_at_and_unpin_lets_go_of_it(
    proxy: RunningProxy, items: dict[str, TreeItem], aim: str
) -> None:
    """Whether it is here or still to come; other pins stay."""
    order, meant = aims(items)[aim]
    await fetch(proxy, items["20250718/squashfs"])

    done = await act(proxy, "pin", **order, name="mine")
    await act(proxy, "pin", **order)

    assert await pinned(proxy, items, "mine") == meant
    assert (done["action"], done["blobs"]) == ("pin", len(meant))
    assert done["bytes"] == sum(items[one].size for one in meant if aim != "digest" or one in meant)

    await act(proxy, "unpin", **order, name="mine")
    assert await pinned(proxy, items, "mine") == set()
    assert await pinned(proxy, items) == meant


async def test_unpin_without_an_aim_lets_go_of_a_whole_pin(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    await act(proxy, "pin", filters=["version_name=20250701"])
    await act(proxy, "pin", filters=["version_name=20250718"])
    await act(proxy, "pin", max=1, name="other")

    done = await act(proxy, "unpin")

    assert done["blobs"] == 4
    assert await pinned(proxy, items) == set()
    assert await pinned(proxy, items, "other") == {"20250718/squashfs", "20250718/boot-kernel"}


@AIMS
async def test_evict_removes_what_is_aimed_at_but_what_is_pinned(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    order, meant = aims(items)[aim]
    spared = items["20250701/squashfs"]
    await fetch(proxy, *items.values())
    await act(proxy, "pin", digests=[spared.digest])

    done = await act(proxy, "evict", **order)

    gone = meant - {"20250701/squashfs"}
    assert here(proxy, items) == set(items) - gone
    assert (done["blobs"], done["bytes"]) == (len(gone), sum(items[one].size for one in gone))
    assert ("1 is pinned" in done["text"]) == (gone != meant)
    origin.clear()
    for one in gone:
        assert (await proxy.read(items[one].path)).body == items[one].read()
    assert origin.count("com.ubuntu*") == len(gone)


async def test_evict_tells_what_it_removed_not_what_was_never_here(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    item = items["20250718/squashfs"]
    await fetch(proxy, item)

    done = await act(proxy, "evict", filters=["arch=amd64"])

    assert (done["blobs"], done["bytes"], done["text"]) == (1, item.size, "1 blob gone")
    assert (await act(proxy, "purge", max=1))["blobs"] == 0


async def test_evict_names_the_pins_that_keep_what_is_still_here(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"], name="lab")

    assert (await act(proxy, "evict", filters=["arch=amd64"]))["pins"] == ["lab"]


@AIMS
async def test_purge_removes_what_is_aimed_at_with_its_pins(
    proxy: RunningProxy, items: dict[str, TreeItem], aim: str
) -> None:
    order, meant = aims(items)[aim]
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"])

    done = await act(proxy, "purge", **order)

    assert here(proxy, items) == await pinned(proxy, items) == set(items) - meant
    assert (done["blobs"], done["bytes"]) == (len(meant), sum(items[one].size for one in meant))


@pytest.mark.parametrize("aim", ["path", "digest"])
async def test_purge_forgets_that_an_item_was_bad(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    """It is fetched again at once, rather than in five minutes."""
    item = items["20250718/squashfs"]
    order, _ = aims(items)[aim]
    origin.fault(item.path, Fault(corrupt_at=1), times=1)
    for _ in range(2):
        with pytest.raises(Exception):  # noqa: B017, PT011 - the connection is cut in one way or the other
            assert (await proxy.read(item.path)).is_complete
    assert origin.count(item.path) == 1

    await act(proxy, "purge", **order)

    assert (await proxy.read(item.path)).body == item.read()


@pytest.mark.parametrize("aim", ["path", "digest"])
async def test_purge_forgets_that_an_item_was_absent(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    item = items["20250718/squashfs"]
    order, _ = aims(items)[aim]
    fault = origin.fault(item.path, Fault(status=404))
    assert (await proxy.read(item.path)).status == 404
    fault.remove()
    assert (await proxy.read(item.path)).status == 404

    await act(proxy, "purge", **order)

    assert (await proxy.read(item.path)).body == item.read()


async def test_purge_removes_the_beginning_of_a_transfer(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item(PRODUCT, "20250801", "squashfs", size=200_000)
    tree.publish()
    origin.fault(item.path, Fault(stall_after=100_000), times=1)
    origin.fault(item.path, Fault(refuse=True))
    await proxy.read(item.path)
    await proxy.fills_ended()
    partial = proxy.layout.incoming / item.digest
    assert partial.stat().st_size == 100_000

    await act(proxy, "purge", digests=[item.digest])

    assert not partial.exists()
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["store"]["reserved_bytes"] == 0


async def test_refresh_checks_mirrors_now(
    proxy: RunningProxy, items: dict[str, TreeItem], tree: SignedTree, origin: Origin
) -> None:
    """All of them unless some are named."""
    assert items
    await proxy.read(INDEX)
    tree.publish()
    new = (tree.root / INDEX).read_bytes()
    origin.clear()

    assert (await act(proxy, "refresh", mirrors=["second"]))["text"] == "checked second"
    assert (await proxy.read(INDEX)).body != new
    assert (await act(proxy, "refresh"))["text"] == "checked test, second"
    assert (await proxy.read(INDEX)).body == new


async def test_a_refresh_that_fails_says_why(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin
) -> None:
    assert items
    await proxy.read(INDEX)
    origin.fault("*", Fault(status=500))

    why = await refused(proxy, "refresh", {"mirrors": ["test"]}, status=502)

    assert why.startswith("test: ")
    assert "500" in why


async def test_offline_is_switched_at_once_and_lasts(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin
) -> None:
    one, other = items["20250718/squashfs"], items["20250701/squashfs"]
    await fetch(proxy, one)
    origin.clear()

    await act(proxy, "offline", on=True)

    assert (await proxy.read(one.path)).cache_status == "hit"
    assert (await proxy.read(other.path)).status == 504
    assert "offline" in await refused(proxy, "refresh", {})
    assert origin.requests == []
    async with run_proxy(proxy.config) as restarted:
        assert (await restarted.read(other.path)).status == 504

    await act(proxy, "offline", on=False)
    assert (await proxy.read(other.path)).body == other.read()


async def test_offline_by_configuration_is_not_switched(proxy: RunningProxy) -> None:
    config = replace(proxy.config, offline=True, data_dir=proxy.config.data_dir / "other")
    async with run_proxy(config) as other:
        assert "configuration" in await refused(other, "offline", {"on": False})


async def test_scrub_and_prefetch_are_left_to_the_keeper(proxy: RunningProxy) -> None:
    """They may take hours; whoever asks is not kept waiting."""
    assert "hashed" in (await act(proxy, "scrub"))["text"]
    assert "lab" in (await act(proxy, "prefetch", rule="lab"))["text"]
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["scrub"]["asked_at"] == proxy.clock.now
    storage = proxy.cache.storage
    asked = await storage.threads.ledger(storage.ledger.keys, "")
    assert any("lab" in key for key in asked)

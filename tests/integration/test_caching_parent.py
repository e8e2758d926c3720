"""Behind a parent proxy that caches: what is said to be fresh was confirmed by the origin itself."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.caching_proxy import CachingProxy, run_caching_proxy
from support.faults import Fault
from support.generations import INDEX, LIST, PRODUCT, STALE_S, bodies, on_disk, stats
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

PLAIN = (INDEX.replace(".sjson", ".json"), LIST.replace(".sjson", ".json"))


@pytest.fixture
async def parent(clock: Clock) -> AsyncIterator[CachingProxy]:
    """Return a parent proxy that believes what it keeps for three days."""
    async with run_caching_proxy(clock) as parent:
        yield parent


@pytest.fixture
async def proxy(
    tmp_path: Path, mirror: Mirror, clock: Clock, parent: CachingProxy
) -> AsyncIterator[RunningProxy]:
    """Return a proxy behind that parent."""
    config = make_config(tmp_path / "data", mirror)
    config = replace(config, upstream=replace(config.upstream, parent_proxy=parent.url))
    async with run_proxy(config, clock) as proxy:
        yield proxy


async def test_what_is_published_is_served_after_fresh_for_and_not_after_the_parents_patience(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, INDEX, LIST, *PLAIN)
    new = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()

    clock.advance(STALE_S)
    await proxy.documents.checks.revalidate()

    paths = (INDEX, LIST, *PLAIN, new.path)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)
    assert (await stats(proxy))["failures"] == 0


async def test_an_origin_that_is_asked_for_documents_is_asked_to_confirm_them(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    await bodies(proxy, INDEX, LIST, *PLAIN, f"{PLAIN[0]}.gpg")
    clock.advance(STALE_S)
    await proxy.documents.checks.revalidate()

    asked = [seen.headers.get("Cache-Control") for seen in origin.requests if "streams/" in seen.path]
    assert set(asked) == {"max-age=0"}


async def test_items_come_from_the_parents_memory(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, parent: CachingProxy
) -> None:
    """They never change; that is what a site has it for."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, item.path)
    await proxy.fills_ended()
    proxy.layout.path(item.digest).unlink()

    assert await bodies(proxy, item.path) == [item.read()]
    assert (origin.count(item.path), parent.hits) == (1, 1)
    assert "Cache-Control" not in origin.gets(item.path)[0].headers


@pytest.mark.parametrize("path", [INDEX, LIST])
async def test_after_a_refusal_the_parents_copy_is_not_asked_for_again(
    proxy: RunningProxy, tree: SignedTree, clock: Clock, parent: CachingProxy, path: str
) -> None:
    """The origin would confirm it by its ETag for ever."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, INDEX, LIST)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    async with proxy.session.get(f"{proxy.documents.route.names[0]}{path}", proxy=parent.url) as response:
        await response.read()
    async with proxy.session.get(
        f"{proxy.documents.route.names[0]}{path}", proxy=parent.url, headers={"Cache-Control": "no-cache"}
    ) as response:
        await response.read()
    parent.spoil(path, b"-----BEGIN PGP SIGNED MESSAGE-----\nspoilt")

    await proxy.documents.checks.revalidate()
    assert (await stats(proxy))["refusals"] == 1
    clock.advance(16)
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_an_item_that_was_wrong_is_asked_for_past_the_parents_copy(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock, parent: CachingProxy
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs", size=200_000)
    tree.publish()
    await bodies(proxy, INDEX)
    async with proxy.session.get(f"{origin.url}{item.path}", proxy=parent.url) as response:
        await response.read()
    parent.spoil(item.path, b"x" * item.size)

    assert not (await proxy.read(item.path)).is_complete
    await proxy.fills_ended()
    clock.advance(20)

    assert await bodies(proxy, item.path) == [item.read()]
    assert origin.gets(item.path)[-1].headers["Cache-Control"] == "no-cache"
    assert origin.gets(item.path)[-1].headers["Pragma"] == "no-cache"


async def test_an_operators_refresh_asks_the_origin_itself(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, INDEX)
    origin.clear()

    assert await proxy.cache.refresh("test") is None
    assert {seen.headers.get("Cache-Control") for seen in origin.requests} == {"no-cache"}

    origin.clear()
    await proxy.documents.checks.revalidate()
    assert {seen.headers.get("Cache-Control") for seen in origin.requests} == {"max-age=0"}


async def test_a_listed_item_that_is_gone_makes_the_proxy_look_for_new_lists_past_the_parent(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, INDEX)
    tree.remove_version("20250701")
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    clock.advance(16)

    assert (await proxy.read(item.path)).status == 404
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_what_a_cache_repeats_because_it_cannot_ask_is_no_confirmation(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """Squid answers `max-age=0` from memory, with 200, when the origin is gone; it says so in Warning."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await bodies(proxy, INDEX, LIST)
    warning = '111 squid/5.7 "Revalidation failed"'
    origin.fault(INDEX, Fault(headers={"Warning": warning}, no_etag=True))
    clock.advance(STALE_S)
    await proxy.documents.checks.revalidate()

    told = await stats(proxy)
    assert told["failures"] == 1
    assert "a cache on the way answered for it, from memory" in told["last_problem"]
    assert (await proxy.read(INDEX)).cache_status == "hit; detail=stale"


async def test_what_a_cache_repeats_is_better_than_nothing(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    origin.fault("streams/*", Fault(headers={"Warning": '110 cache "Response is stale"'}))

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)

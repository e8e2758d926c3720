"""What is served is checked behind the clients' backs; trouble upstream leaves it in place."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from support.faults import Fault
from support.generations import (
    HOUR_S,
    INDEX,
    LIST,
    PRODUCT,
    SECOND_LIST,
    STALE,
    STALE_S,
    bodies,
    check_ended,
    on_disk,
    said_by,
    stats,
)
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

# Revalidation


async def test_a_fresh_generation_is_served_without_asking_the_origin(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    origin.clear()
    clock.advance(299)

    replies = [await proxy.read(path) for path in (INDEX, LIST) * 3]

    assert {reply.cache_status for reply in replies} == {"hit"}
    assert {reply.headers["Age"] for reply in replies} == {"299"}
    assert origin.requests == []


async def test_revalidation_is_conditional(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    before = await proxy.read(INDEX)
    origin.clear()
    clock.advance(STALE_S)

    await proxy.documents.checks.revalidate()

    assert {request.path for request in origin.requests} == {INDEX, LIST}
    for request in origin.requests:
        assert (request.status, request.sent_bytes) == (304, 0)
        assert request.headers["If-None-Match"]
        assert request.headers["If-Modified-Since"]
    after = await proxy.read(INDEX)
    assert (after.body, after.headers["Age"], after.cache_status) == (before.body, "0", "hit")
    assert (await stats(proxy))["generation"] == 1


async def test_only_what_has_changed_is_fetched_again(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item("second", "20250701", "squashfs", content_id="second")
    tree.publish()
    await proxy.read(INDEX)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    del tree._documents["second"]
    tree.index_entries["second"] = said_by(on_disk(tree, INDEX)[0])["index"]["second"]
    tree.publish()
    origin.clear()

    await proxy.documents.checks.revalidate()

    assert [request.status for request in origin.gets(SECOND_LIST)] == [304]
    assert [request.status for request in origin.gets(LIST)] == [200]
    assert await bodies(proxy, INDEX, LIST, SECOND_LIST) == on_disk(tree, INDEX, LIST, SECOND_LIST)


async def test_last_modified_alone_makes_revalidation_conditional(
    tmp_path: Path, tree: SignedTree, mirror: Mirror
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    async with dated_origin(tree.root) as (url, seen):
        mirror = replace(mirror, origins=(url,))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            await proxy.read(INDEX)
            seen.clear()

            await proxy.documents.checks.revalidate()
            unchanged = dict(seen)
            tree.publish()
            await proxy.documents.checks.revalidate()

            assert unchanged == {INDEX: 304, LIST: 304}
            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


@asynccontextmanager
async def dated_origin(root: Path) -> AsyncIterator[tuple[str, dict[str, int]]]:
    """Run an origin that knows Last-Modified and no ETag; gives its URL and the last status by path."""
    seen: dict[str, int] = {}

    async def get(request: web.Request) -> web.Response:
        path = request.match_info["path"]
        file = root / path
        if not file.is_file():
            return web.Response(status=404)
        reply = web.Response(body=file.read_bytes())
        reply.last_modified = int(file.stat().st_mtime)
        if request.if_modified_since == reply.last_modified:
            reply = web.Response(status=304)
        assert "If-None-Match" not in request.headers
        seen[path] = reply.status
        return reply

    app = web.Application()
    app.router.add_get("/{path:.*}", get)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/", seen
    finally:
        await runner.cleanup()


async def test_an_origin_without_validators_is_read_again_and_changes_nothing(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    origin.fault("*", Fault(no_etag=True))
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    origin.clear()
    clock.advance(STALE_S)

    await proxy.documents.checks.revalidate()

    assert {request.status for request in origin.requests} == {200}
    assert (await proxy.read(INDEX)).headers["Age"] == "0"
    assert (await stats(proxy))["generation"] == 1
    tree.publish()
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_revalidation_can_be_demanded_at_any_time(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()

    await asyncio.gather(*(proxy.documents.checks.revalidate() for _ in range(5)))

    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert (await stats(proxy))["generation"] == 2
    assert sum(request.status == 200 for request in origin.gets(INDEX)) == 2


# In front of the client and behind its back


async def test_a_stale_request_is_answered_at_once_though_the_origin_says_nothing(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    gate = origin.gate(INDEX)
    clock.advance(STALE_S)

    replies = [await proxy.read(path) for path in (INDEX, LIST)]
    await gate.waiting(1)

    assert [reply.body for reply in replies] == old
    assert {reply.cache_status for reply in replies} == {STALE}
    assert {reply.headers["Age"] for reply in replies} == {str(STALE_S)}
    gate.open()
    await check_ended(proxy)
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_any_number_of_stale_requests_cause_one_check(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    origin.clear()
    clock.advance(STALE_S)

    await asyncio.gather(*(proxy.read(path) for path in (INDEX, LIST) * 20))
    await check_ended(proxy)
    await asyncio.gather(*(proxy.read(path) for path in (INDEX, LIST) * 20))

    assert (origin.count(INDEX), origin.count(LIST)) == (1, 1)


async def test_without_a_generation_requests_wait_for_the_first(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    """However many and whatever they ask for, they cause one fetch."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    gate = origin.gate(INDEX)
    reading = [asyncio.create_task(proxy.read(path)) for path in (INDEX, LIST, item.path) * 20]
    await gate.waiting(1)
    assert not any(task.done() for task in reading)

    gate.open()
    replies = await asyncio.gather(*reading)

    assert {reply.status for reply in replies} == {200}
    assert [request.status for request in origin.gets(INDEX)] == [200, 304]
    assert origin.count(LIST) == 1


async def test_a_clock_that_was_set_back_makes_a_generation_stale(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)

    clock.advance(-HOUR_S)
    reply = await proxy.read(INDEX)

    assert (reply.cache_status, reply.headers["Age"]) == (STALE, "0")


# Upstream trouble

TROUBLES = {
    "503": (Fault(status=503), "it answered with status 503"),
    "500": (Fault(status=500), "it answered with status 500"),
    "403": (Fault(status=403), "it answered with status 403"),
    "404": (Fault(status=404), "it has no streams/v1/index.sjson"),
    "no answer": (Fault(refuse=True), "Server disconnected"),
    "broken off": (Fault(cut_after=100), "its answer broke off"),
    "cut short": (Fault(close_after=100), "its answer broke off"),
    "silence": (Fault(latency_s=60), "imeout"),
    "silence in the middle": (Fault(stall_after=100), "imeout"),
    "an HTML page": (Fault(body=b"<html>captive portal</html>"), "it is not clear-signed"),
    "a private redirect": (
        Fault(redirect_to="http://127.0.0.77:1/x"),
        "it redirects to the private address 127.0.0.77",
    ),
}


@pytest.mark.parametrize(("fault", "problem"), TROUBLES.values(), ids=TROUBLES.keys())
async def test_upstream_trouble_leaves_the_last_generation_in_place(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault, problem: str
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST)
    tree.publish()
    origin.fault("streams/*", fault)
    clock.advance(STALE_S)

    await proxy.read(INDEX)
    await check_ended(proxy)
    replies = [await proxy.read(path) for path in (INDEX, LIST)]

    assert [reply.body for reply in replies] == old
    assert {reply.cache_status for reply in replies} == {STALE}
    assert {reply.headers["Age"] for reply in replies} == {str(STALE_S)}
    assert (await proxy.read(item.path)).body == item.read()
    said = await stats(proxy)
    assert (said["failures"], said["is_stale"], said["generation"]) == (1, True, 1)
    assert problem in said["last_problem"]

    origin.heal()
    clock.advance(16)
    await proxy.read(INDEX)
    await check_ended(proxy)
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert ((await stats(proxy))["failures"], (await proxy.read(INDEX)).cache_status) == (0, "hit")


async def test_an_origin_that_is_down_leaves_the_last_generation_in_place(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = await bodies(proxy, INDEX, LIST)
    await origin.stop()
    clock.advance(30 * 24 * HOUR_S)

    await proxy.read(INDEX)
    await check_ended(proxy)

    assert await bodies(proxy, INDEX, LIST) == old
    assert (await proxy.read(INDEX)).cache_status == STALE


async def test_failed_checks_are_repeated_after_growing_pauses(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    origin.fault("streams/*", Fault(status=503))
    clock.advance(STALE_S)
    await proxy.read(INDEX)
    await check_ended(proxy)
    origin.clear()

    for pause_s in (15, 30, 60, 120, 240, 300, 300):
        clock.advance(pause_s - 1)
        await proxy.read(INDEX)
        assert proxy.documents.checks.running is None
        clock.advance(1)
        await proxy.read(INDEX)
        await check_ended(proxy)

    assert origin.count(INDEX) == 7


async def test_without_data_and_origin_the_reason_is_told_until_the_origin_is_back(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """What may be an item is cut instead, for MAAS never retries one that was answered with an error."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await origin.stop()

    for path in (INDEX, LIST, "streams/v1/index.json"):
        reply = await proxy.read(path)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")
        assert b"mirror test has no verified documents yet: " in reply.body
        assert origin.url.encode() in reply.body
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await proxy.read(item.path)

    await origin.start()
    clock.advance(16)
    assert await bodies(proxy, INDEX, LIST, item.path) == on_disk(tree, INDEX, LIST, item.path)


async def test_without_data_a_silent_origin_is_told_as_the_reason(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.publish()
    origin.fault("*", Fault(latency_s=60))

    reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert b"imeout" in reply.body


# Several origins


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(refuse=True), Fault(status=404)])
async def test_a_second_origin_is_used_when_the_first_fails(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, fault: Fault
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    async with Origin(tree.root) as second:
        mirror = replace(mirror, origins=(origin.url, second.url))
        origin.fault("*", fault)
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            paths = (INDEX, LIST, item.path)
            assert await bodies(proxy, *paths) == on_disk(tree, *paths)
            assert (await stats(proxy))["failures"] == 0

            tree.publish()
            origin.heal()
            await second.stop()
            await proxy.documents.checks.revalidate()
            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_generation_is_never_put_together_from_two_origins(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, key: SigningKey
) -> None:
    ahead = SignedTree(tmp_path / "ahead", key)
    for one in (tree, ahead):
        one.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    ahead.publish(updated=tree.updated_s + 100)
    async with Origin(ahead.root) as second:
        origin.fault(LIST, Fault(status=503))
        mirror = replace(mirror, origins=(origin.url, second.url))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            assert await bodies(proxy, INDEX, LIST) == on_disk(ahead, INDEX, LIST)

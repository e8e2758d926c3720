"""Index and lists change together, are checked behind the clients' backs, and never go back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from support.failing_disk import in_the_way
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.cache.freshness import FreshnessPolicy
from proxy.cache.mirror import Mirror

INDEX = "streams/v1/index.sjson"
LIST = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
SECOND_LIST = "streams/v1/second.sjson"
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"

HOUR_S = 3600
STALE_S = 301
"""Long enough for a generation to be checked again."""
STALE = "hit; detail=stale"


@pytest.fixture
def other_key() -> Iterator[SigningKey]:
    with SigningKey("Other <other@example.test>") as key:
        yield key


@pytest.fixture
def veteran() -> Iterator[SigningKey]:
    """Return a key old enough to have signed at various times."""
    with SigningKey("Veteran <veteran@example.test>", created_s=int(time.time()) - 1000 * HOUR_S) as key:
        yield key


def on_disk(tree: SignedTree, *paths: str) -> list[bytes]:
    """Read documents as upstream has them now."""
    return [(tree.root / path).read_bytes() for path in paths]


async def bodies(proxy: RunningProxy, *paths: str) -> list[bytes]:
    """Read documents from the proxy, one after the other."""
    replies = [await proxy.read(path) for path in paths]
    assert [reply.status for reply in replies] == [200] * len(paths)
    return [reply.body for reply in replies]


def said_by(raw: bytes) -> dict[str, Any]:
    """Return what a clear-signed document made by SignedTree says."""
    text = raw.split(b"\n\n", 1)[1].split(b"-----BEGIN PGP SIGNATURE")[0]
    document: dict[str, Any] = json.loads(text)
    return document


def exchange_keys(keyring: Path, keys: bytes) -> None:
    keyring.write_bytes(keys)


def signed(tree: SignedTree, document: dict[str, Any], **when: int) -> bytes:
    assert tree.key is not None
    return tree.key.clearsign(json.dumps(document, indent=1).encode(), **when)


async def check_ended(proxy: RunningProxy) -> None:
    """Return when the check that runs behind the clients' backs has ended."""
    check = proxy.documents._check
    if check is not None:
        await asyncio.wait([check])


async def stats(proxy: RunningProxy) -> dict[str, Any]:
    async with proxy.get("/-/stats") as response:
        body = await response.json()
    found: dict[str, Any] = body["mirrors"]["test"]
    return found


@asynccontextmanager
async def client_at(address: str) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a session that comes from another loopback address, as another machine would."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


async def read_as(session: aiohttp.ClientSession, proxy: RunningProxy, path: str) -> bytes:
    async with session.get(proxy.url(path)) as response:
        assert response.status == 200
        return await response.read()


# Index and lists belong together


async def test_a_client_gets_the_lists_that_belong_to_the_index_it_read(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """Also when a new generation arrives in between."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old = on_disk(tree, INDEX, LIST)
    [index] = await bodies(proxy, INDEX)

    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    await proxy.documents.revalidate()

    assert [index, *await bodies(proxy, LIST)] == old
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_client_that_has_not_read_the_old_index_gets_the_new_lists(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    tree.publish()
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()
    await proxy.documents.revalidate()

    async with client_at("127.0.0.9") as session:
        assert [await read_as(session, proxy, LIST)] == on_disk(tree, LIST)


async def test_the_old_lists_are_kept_for_a_reader_no_longer_than_a_minute(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()
    await proxy.documents.revalidate()

    clock.advance(61)

    assert await bodies(proxy, LIST) == on_disk(tree, LIST)


async def test_no_client_ever_sees_an_index_with_a_list_of_another_generation(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """Clients that never pause, while upstream publishes all the time."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    over = asyncio.Event()
    pairs: list[tuple[str, str]] = []

    async def read_pairs(address: str) -> None:
        async with client_at(address) as session:
            while not over.is_set():
                index = said_by(await read_as(session, proxy, INDEX))
                products = said_by(await read_as(session, proxy, LIST))
                pairs.append((index["index"][MAAS_CONTENT_ID]["updated"], products["updated"]))

    async with asyncio.TaskGroup() as clients:
        for number in range(2, 8):
            clients.create_task(read_pairs(f"127.0.0.{number}"))
        for number in range(12):
            tree.add_item(PRODUCT, f"202507{number + 10}", "squashfs")
            tree.publish()
            await proxy.documents.revalidate()
        over.set()

    assert [pair for pair in pairs if pair[0] != pair[1]] == []
    assert len(set(pairs)) > 5


async def test_an_index_that_changes_while_its_lists_are_fetched_is_fetched_again(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    gate = origin.gate(LIST)
    reading = asyncio.create_task(proxy.read(INDEX))
    await gate.waiting(1)

    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    gate.open()

    assert [(await reading).body, *await bodies(proxy, LIST)] == on_disk(tree, INDEX, LIST)


async def test_an_index_that_never_stops_changing_is_given_up_for_now(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    good = on_disk(tree, INDEX, LIST)
    await proxy.read(INDEX)
    tree.publish()
    gate = origin.gate(LIST)
    checking = asyncio.create_task(proxy.documents.revalidate())

    for _ in range(3):
        await gate.waiting(1)
        tree.publish()
        previous, gate = gate, origin.gate(LIST)
        previous.open()
    gate.open()
    await checking

    assert "its index changes faster than its lists can be read" in (await stats(proxy))["last_problem"]
    assert await bodies(proxy, INDEX, LIST) == good


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

    await proxy.documents.revalidate()

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

    await proxy.documents.revalidate()

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

            await proxy.documents.revalidate()
            unchanged = dict(seen)
            tree.publish()
            await proxy.documents.revalidate()

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

    await proxy.documents.revalidate()

    assert {request.status for request in origin.requests} == {200}
    assert (await proxy.read(INDEX)).headers["Age"] == "0"
    assert (await stats(proxy))["generation"] == 1
    tree.publish()
    await proxy.documents.revalidate()
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_revalidation_can_be_demanded_at_any_time(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()

    await asyncio.gather(*(proxy.documents.revalidate() for _ in range(5)))

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
        assert proxy.documents._check is None
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


# Another run


async def test_a_generation_survives_a_restart(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        first = await bodies(proxy, INDEX, LIST, item.path)
        await proxy.fills_ended()
    origin.clear()

    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, item.path) == first
        assert (await stats(proxy))["generation"] == 1

    assert origin.requests == []


async def test_a_proxy_that_starts_while_upstream_is_down_serves_what_an_earlier_run_left(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        first = await bodies(proxy, INDEX, LIST)
    await origin.stop()
    clock.advance(7 * 24 * HOUR_S)

    async with run_proxy(config, clock) as proxy:
        replies = [await proxy.read(path) for path in (INDEX, LIST)]

    assert [reply.body for reply in replies] == first
    assert {reply.cache_status for reply in replies} == {STALE}
    assert {reply.headers["Age"] for reply in replies} == {str(7 * 24 * HOUR_S)}


async def test_another_keyring_voids_what_the_old_one_proved(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    origin: Origin,
    clock: Clock,
    keyring: Path,
    key: SigningKey,
    other_key: SigningKey,
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    old_keys, other_keys = key.public_binary(), other_key.public_binary()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        await bodies(proxy, INDEX, item.path)
        await proxy.fills_ended()

    exchange_keys(keyring, other_keys)
    async with run_proxy(config, clock) as proxy:
        replies = [await proxy.read(path) for path in (INDEX, LIST)]
        assert {reply.status for reply in replies} == {503}
        assert b"which is not in the mirror's keyring" in replies[0].body

    exchange_keys(keyring, old_keys)
    await origin.stop()
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, item.path) == on_disk(tree, INDEX, item.path)

    exchange_keys(keyring, other_keys)
    await origin.start()
    tree.key = other_key
    tree.publish()
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
        assert (await stats(proxy))["signed_by"] == other_key.fingerprint


# Never back


async def test_an_older_index_is_refused_however_well_signed(
    proxy: RunningProxy, tree: SignedTree, caplog: pytest.LogCaptureFixture
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    earlier = on_disk(tree, INDEX, LIST)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)

    await proxy.documents.revalidate()

    assert await bodies(proxy, INDEX, LIST) == current
    said = await stats(proxy)
    problem = f"{INDEX} is older than the one already accepted: its 'updated' lies before"
    assert (said["refusals"], said["last_refusal"]) == (1, problem)
    assert problem in caplog.text


async def test_an_index_of_the_same_date_with_an_older_signature_is_refused(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, keyring: Path, veteran: SigningKey
) -> None:
    exchange_keys(keyring, veteran.public_binary())
    tree.key = veteran
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    document = said_by(on_disk(tree, INDEX)[0])
    newer, older = int(time.time()) - 10 * HOUR_S, int(time.time()) - 20 * HOUR_S
    tree.write(INDEX, signed(tree, document, faked_time=newer))

    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        current = await bodies(proxy, INDEX)
        tree.write(INDEX, signed(tree, document | {"note": "older"}, faked_time=older))
        await proxy.documents.revalidate()
        assert await bodies(proxy, INDEX) == current
        assert (await stats(proxy))["last_refusal"].endswith("its signature was made before")

        tree.write(INDEX, signed(tree, document | {"note": "newer"}, faked_time=newer + 1))
        await proxy.documents.revalidate()
        assert await bodies(proxy, INDEX) == on_disk(tree, INDEX)


async def test_an_older_list_with_a_newer_index_is_refused(proxy: RunningProxy, tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    [earlier] = on_disk(tree, LIST)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish()
    current = await bodies(proxy, INDEX, LIST)
    tree.publish()
    tree.write(LIST, earlier)

    await proxy.documents.revalidate()

    assert await bodies(proxy, INDEX, LIST) == current
    said = await stats(proxy)
    assert said["refusals"] == 1
    assert said["last_refusal"] == f"{LIST} is older than the one already accepted: its 'updated' lies before"


@pytest.mark.parametrize("is_lost", [False, True], ids=["documents kept", "documents lost"])
async def test_a_restart_does_not_forget_what_is_too_old(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock, is_lost: bool
) -> None:
    tree.publish()
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    earlier = on_disk(tree, INDEX, LIST)
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)
    if is_lost:
        for blob in (tmp_path / "data/blobs/sha256").glob("*/*"):
            blob.unlink()

    async with run_proxy(config, clock) as proxy:
        await proxy.documents.revalidate()
        replies = [await proxy.read(path) for path in (INDEX, LIST)]
        assert (await stats(proxy))["last_refusal"].startswith(f"{INDEX} is older than")

    if is_lost:
        assert {reply.status for reply in replies} == {503}
        assert b"is older than the one already accepted" in replies[0].body
    else:
        assert [reply.body for reply in replies] == current


async def test_an_older_generation_does_not_come_back_in_another_flavour(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """Whoever can hide the .sjson files could else replay an old .json with its own good signature."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    plain = [
        path.removesuffix(".sjson") + suffix for path in (INDEX, LIST) for suffix in (".json", ".json.gpg")
    ]
    earlier = on_disk(tree, *plain)
    new = tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish(detached=True)
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip(plain, earlier, strict=True):
        tree.write(path, raw)
    for path in (INDEX, LIST):
        (tree.root / path).unlink()

    await proxy.documents.revalidate()

    said = await stats(proxy)
    assert "is older than the one already accepted" in said["last_refusal"]
    assert (said["generation"], said["refusals"]) == (1, 1)
    assert await bodies(proxy, INDEX, LIST, new.path) == [*current, new.read()]


async def test_a_second_origin_that_lags_behind_is_not_used(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, key: SigningKey, clock: Clock
) -> None:
    laggard = SignedTree(tmp_path / "laggard", key)
    laggard.add_item(PRODUCT, "20250701", "squashfs")
    laggard.publish()
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(updated=laggard.updated_s + 100)
    async with Origin(laggard.root) as second:
        mirror = replace(mirror, origins=(origin.url, second.url))
        async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
            current = await bodies(proxy, INDEX, LIST)
            await origin.stop()

            await proxy.documents.revalidate()

            assert await bodies(proxy, INDEX, LIST) == current
            assert second.count(INDEX) == 1


# Lists that are missing


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
    await proxy.documents.revalidate()

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

    await proxy.documents.revalidate()
    clock.advance(6 * HOUR_S - 1)
    await proxy.documents.revalidate()

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
    await proxy.documents.revalidate()

    assert await bodies(proxy, INDEX, LIST, new.path) == on_disk(tree, INDEX, LIST, new.path)
    assert await bodies(proxy, SECOND_LIST, gone.path) == [old[2], gone.read()]
    said = await stats(proxy)
    assert (said["failures"], said["held_back_since"]) == (0, None)
    clock.advance(24 * HOUR_S)
    await proxy.documents.revalidate()
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
    await proxy.documents.revalidate()
    assert (await stats(proxy))["held_back_since"] is not None

    tree.write(LIST, late)
    await proxy.documents.revalidate()

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

        await proxy.documents.revalidate()

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

    await proxy.documents.revalidate()
    assert await bodies(proxy, INDEX, LIST) == old
    assert f"{LIST} is older than the index says" in (await stats(proxy))["last_problem"]

    tree.write(LIST, late)
    await proxy.documents.revalidate()
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
            await proxy.documents.revalidate()
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
    await proxy.documents.revalidate()
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
        await proxy.documents.revalidate()

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

    await proxy.documents.revalidate()

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
    document = proxy.documents._editions.current.generation.documents[path]  # type: ignore[union-attr]
    blob = proxy.store.path(document.digest)
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
        document = proxy.documents._editions.current.generation.documents[path]  # type: ignore[union-attr]
        proxy.store.path(document.text).unlink()
        if not is_restarted:
            clock.advance(STALE_S)
            await proxy.documents.revalidate()
            assert ((await stats(proxy))["failures"], (await proxy.read(INDEX)).cache_status) == (0, "hit")
            tree.publish()
            await proxy.documents.revalidate()
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
            await proxy.documents.revalidate()

    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(demand())
        origin.clear()
        await origin.arrived(INDEX)
        await proxy.documents.revalidate()
        over.set()

    assert origin.count(INDEX) < 10


# Several workers on one data directory


@asynccontextmanager
async def two_workers(
    tmp_path: Path, mirror: Mirror, clock: Clock
) -> AsyncIterator[tuple[RunningProxy, RunningProxy]]:
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as one, run_proxy(config, clock) as other:
        yield one, other


async def test_workers_share_one_check_and_one_generation(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    async with two_workers(tmp_path, mirror, clock) as workers:
        replies = await asyncio.gather(*(worker.read(path) for worker in workers for path in (INDEX, LIST)))
        assert [reply.body for reply in replies] == on_disk(tree, INDEX, LIST) * 2
        assert [request.status for request in origin.gets(INDEX)] == [200, 304]

        tree.publish()
        clock.advance(STALE_S)
        await workers[0].documents.revalidate()
        clock.advance(61)

        for worker in workers:
            assert await bodies(worker, INDEX, LIST) == on_disk(tree, INDEX, LIST)
        assert [(await stats(worker))["generation"] for worker in workers] == [2, 2]


async def test_the_lists_belong_to_the_index_also_when_another_worker_answers(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    async with two_workers(tmp_path, mirror, clock) as (one, other):
        old = await bodies(one, INDEX, LIST)
        await other.read("/-/stats")
        await bodies(one, INDEX)
        tree.publish()
        await one.documents.revalidate()

        assert await bodies(other, LIST) == old[1:]
        assert await bodies(other, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_every_worker_tells_the_reason_why_there_is_no_generation(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    tree.publish()
    origin.fault("*", Fault(status=503))
    gate = origin.gate(INDEX)
    async with two_workers(tmp_path, mirror, clock) as (one, other):
        first = asyncio.create_task(one.read(INDEX))
        await gate.waiting(1)
        second = asyncio.create_task(other.read(INDEX))
        while other.documents._check is None:
            await other.read("/-/health")
        gate.open()

        for reply in (await first, await second):
            assert reply.status == 503
            assert b"it answered with status 503" in reply.body


async def test_a_policy_of_no_retention_drops_at_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    """But a reader of the old index still gets its lists."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    old = tree.add_item(PRODUCT, "20250601", "squashfs")
    tree.publish()
    config = make_config(tmp_path / "data", mirror, freshness=FreshnessPolicy(retain_s=0))
    async with run_proxy(config, clock) as proxy:
        first = await bodies(proxy, LIST, INDEX)
        tree.remove_version("20250601")
        tree.publish()
        await proxy.documents.revalidate()

        assert (await proxy.read(old.path)).status == 404
        assert await bodies(proxy, LIST) == first[:1]


async def test_mirrors_do_not_mix(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, other_key: SigningKey
) -> None:
    """Each has its own keyring, lists and trouble."""
    other_tree = SignedTree(tmp_path / "other", other_key)
    (tmp_path / "other.gpg").write_bytes(other_key.public_binary())
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    other_item = other_tree.add_item("other", "20250701", "squashfs")
    tree.publish()
    other_tree.publish()
    async with Origin(other_tree.root) as other_origin:
        other = Mirror(
            name="other", mount="/other/", origins=(other_origin.url,), keyring=str(tmp_path / "other.gpg")
        )
        async with run_proxy(make_config(tmp_path / "data", mirror, other)) as proxy:
            assert await bodies(proxy, INDEX, f"/other/{INDEX}") == [
                *on_disk(tree, INDEX),
                *on_disk(other_tree, INDEX),
            ]
            assert await bodies(proxy, item.path, f"/other/{other_item.path}") == [
                item.read(),
                other_item.read(),
            ]
            assert (await proxy.read(f"{MOUNT}{other_item.path}")).status == 404
            assert (await proxy.read(f"/other/{item.path}")).status == 404

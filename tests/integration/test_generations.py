"""An index and its lists change together, for every client, run and worker."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.faults import Fault
from support.generations import (
    HOUR_S,
    INDEX,
    LIST,
    PRODUCT,
    STALE,
    STALE_S,
    bodies,
    client_at,
    exchange_keys,
    on_disk,
    read_as,
    said_by,
    stats,
)
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.documents.freshness import FreshnessPolicy
from proxy.mirror import Mirror


@pytest.fixture
def other_key() -> Iterator[SigningKey]:
    with SigningKey("Other <other@example.test>") as key:
        yield key


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
    await proxy.documents.checks.revalidate()

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
    await proxy.documents.checks.revalidate()

    async with client_at("127.0.0.9") as session:
        assert [await read_as(session, proxy, LIST)] == on_disk(tree, LIST)


async def test_the_old_lists_are_kept_for_a_reader_no_longer_than_a_minute(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.read(INDEX)
    tree.publish()
    await proxy.documents.checks.revalidate()

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
            await proxy.documents.checks.revalidate()
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
    checking = asyncio.create_task(proxy.documents.checks.revalidate())

    for _ in range(3):
        await gate.waiting(1)
        tree.publish()
        previous, gate = gate, origin.gate(LIST)
        previous.open()
    gate.open()
    await checking

    assert "its index changes faster than its lists can be read" in (await stats(proxy))["last_problem"]
    assert await bodies(proxy, INDEX, LIST) == good


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
        await workers[0].documents.checks.revalidate()
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
        await one.documents.checks.revalidate()

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
        while other.documents.checks.running is None:
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
        await proxy.documents.checks.revalidate()

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

"""What is older than what was accepted never comes back, however well signed."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.generations import (
    HOUR_S,
    INDEX,
    LIST,
    PRODUCT,
    bodies,
    exchange_keys,
    on_disk,
    said_by,
    signed,
    stats,
)
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror


@pytest.fixture
def veteran() -> Iterator[SigningKey]:
    """Return a key old enough to have signed at various times."""
    with SigningKey("Veteran <veteran@example.test>", created_s=int(time.time()) - 1000 * HOUR_S) as key:
        yield key


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

    await proxy.documents.checks.revalidate()

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
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == current
        assert (await stats(proxy))["last_refusal"].endswith("its signature was made before")

        tree.write(INDEX, signed(tree, document | {"note": "newer"}, faked_time=newer + 1))
        await proxy.documents.checks.revalidate()
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

    await proxy.documents.checks.revalidate()

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
        await proxy.documents.checks.revalidate()
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

    await proxy.documents.checks.revalidate()

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

            await proxy.documents.checks.revalidate()

            assert await bodies(proxy, INDEX, LIST) == current
            assert second.count(INDEX) == 1


async def test_an_older_list_does_not_come_back_in_another_flavour(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """A current index of the other flavour names it by a path at which nothing was accepted yet."""
    plain = LIST.replace(".sjson", ".json")
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(updated=clock.now - 3000, detached=True)
    earlier = on_disk(tree, plain, f"{plain}.gpg")
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish(updated=clock.now - 2000, detached=True)
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((plain, f"{plain}.gpg"), earlier, strict=True):
        tree.write(path, raw)
    (tree.root / INDEX).unlink()

    for _ in range(3):
        await proxy.documents.checks.revalidate()
        clock.now += 7 * HOUR_S

    assert await bodies(proxy, INDEX, LIST) == current
    assert (await proxy.read(plain)).status != 200
    assert "is older than the one already accepted" in (await stats(proxy))["last_refusal"]


@pytest.mark.parametrize("is_asked_for", [False, True])
async def test_a_plain_index_takes_over_when_the_signed_one_is_gone(
    proxy: RunningProxy, tree: SignedTree, clock: Clock, is_asked_for: bool
) -> None:
    """Also where clients had its documents before, beside the signed ones."""
    plain = [path.replace(".sjson", ".json") for path in (INDEX, LIST)]
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(updated=clock.now - 3000, detached=True)
    await bodies(proxy, INDEX, LIST, *(plain if is_asked_for else ()))
    (tree.root / INDEX).unlink()

    await proxy.documents.checks.revalidate()

    assert (await stats(proxy))["last_problem"] == ""
    assert await bodies(proxy, *plain) == on_disk(tree, *plain)
    tree.add_item(PRODUCT, "20250722", "squashfs")
    tree.publish(updated=clock.now - 2000, detached=True)
    (tree.root / INDEX).unlink()
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, *plain) == on_disk(tree, *plain)

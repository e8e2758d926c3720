"""Ways out of dates that block what is right: those in the future do not count; an operator may go back."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from support.stored import recorded
from support.tree import SignedTree

from proxy.mirror import Mirror

DAY_S = 24 * HOUR_S


@pytest.fixture
def veteran() -> Iterator[SigningKey]:
    """Return a key old enough to have signed at various times."""
    with SigningKey("Veteran <veteran@example.test>", created_s=int(time.time()) - 1000 * HOUR_S) as key:
        yield key


def publish(tree: SignedTree, version: str, updated: float | None = None) -> None:
    tree.add_item(PRODUCT, version, "squashfs")
    tree.publish(updated=updated, detached=True)


async def problems(proxy: RunningProxy) -> list[str]:
    """Return what is told to be wrong, each with what to do."""
    async with proxy.get("/-/stats") as response:
        return [f"{one['text']}: {one['advice']}" for one in (await response.json())["problems"]]


async def accept_older(proxy: RunningProxy, *mirrors: str) -> tuple[int, str]:
    async with proxy.session.post(
        proxy.url("/-/api/v1/refresh"),
        json={"mirrors": list(mirrors), "accept_older": True},
        headers={"X-Sstream-Proxy": "1"},
    ) as response:
        body = await response.json()
        return response.status, body.get("text") or body["problem"]


# Dates in the future


@pytest.mark.parametrize("ahead_s", [HOUR_S, 30 * DAY_S, 100 * 365 * DAY_S])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_date_in_the_future_keeps_no_later_document_out(
    proxy: RunningProxy, tree: SignedTree, clock: Clock, ahead_s: float, is_first: bool
) -> None:
    if not is_first:
        publish(tree, "20250701")
        await bodies(proxy, INDEX, LIST)
    publish(tree, "20250702", updated=clock.now + ahead_s)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert any("of the future" in problem for problem in await problems(proxy))

    for number in range(3):
        publish(tree, f"2025070{number + 3}", updated=clock.now - 30 + number)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)

    assert (await stats(proxy))["refusals"] == 0
    assert not any("of the future" in problem for problem in await problems(proxy))


async def test_after_a_date_in_the_future_what_was_too_old_before_is_still_too_old(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    """Over a restart too."""
    publish(tree, "20250601", updated=clock.now - 3000)
    earlier = on_disk(tree, INDEX, LIST)
    publish(tree, "20250701", updated=clock.now - 2000)
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        await bodies(proxy, INDEX, LIST)
        publish(tree, "20250702", updated=clock.now + DAY_S)
        await proxy.documents.checks.revalidate()
        current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)
    async with run_proxy(config, clock) as proxy:
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == current
        assert "is older than the one already accepted" in (await stats(proxy))["last_refusal"]


async def test_what_was_signed_before_the_one_of_the_future_does_not_replace_it(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, keyring: Path, veteran: SigningKey, clock: Clock
) -> None:
    """Of a first index nothing is known before it, but when it was signed."""
    exchange_keys(keyring, veteran.public_binary())
    tree.key = veteran
    publish(tree, "20250701")
    document = said_by(on_disk(tree, INDEX)[0])
    made = int(time.time()) - 10 * HOUR_S
    future: dict[str, Any] = document | {"updated": "Fri, 01 Jan 2100 00:00:00 +0000"}
    tree.write(INDEX, signed(tree, future, faked_time=made))
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        current = await bodies(proxy, INDEX)
        tree.write(INDEX, signed(tree, document | {"note": "older"}, faked_time=made - 1))
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == current

        tree.write(INDEX, signed(tree, document | {"note": "newer"}, faked_time=made + 1))
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == on_disk(tree, INDEX)


async def test_a_signature_made_in_the_future_keeps_no_later_one_of_the_same_date_out(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, keyring: Path, veteran: SigningKey, clock: Clock
) -> None:
    exchange_keys(keyring, veteran.public_binary())
    tree.key = veteran
    publish(tree, "20250701")
    document = said_by(on_disk(tree, INDEX)[0])
    tree.write(INDEX, signed(tree, document, faked_time=int(time.time()) + 100 * HOUR_S))
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        if (await proxy.read(INDEX)).status != 200:
            pytest.skip("this gpg believes no signature of the future")
        tree.write(INDEX, signed(tree, document | {"note": "right"}, faked_time=int(time.time()) - 10))
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == on_disk(tree, INDEX)


# Going back on purpose


async def test_an_operator_may_go_back_once(
    tmp_path: Path, proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """The page names the command; it is written down; afterwards nothing older is accepted any more."""
    publish(tree, "20250501", updated=clock.now - 4000)
    oldest = on_disk(tree, INDEX, LIST)
    publish(tree, "20250601", updated=clock.now - 3000)
    earlier = on_disk(tree, INDEX, LIST)
    publish(tree, "20250701", updated=clock.now - 2000)
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == current
    assert any("sstream-proxy refresh --accept-older test" in problem for problem in await problems(proxy))

    status, text = await accept_older(proxy, "test")

    assert (status, "was replaced by that of" in text) == (200, True)
    assert await bodies(proxy, INDEX, LIST) == earlier
    assert not any("--accept-older" in problem for problem in await problems(proxy))
    line = json.loads((tmp_path / "data/audit.log").read_text().splitlines()[-1])
    assert (line["action"], line["what"]) == ("refresh", "test, older ones accepted")
    assert "was replaced by that of" in line["text"]
    for path, raw in zip((INDEX, LIST), oldest, strict=True):
        tree.write(path, raw)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == earlier


async def test_leave_to_go_back_ends_with_the_order_that_gave_it(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """Also when no origin could be asked then: a later check, which nobody ordered so, has none."""
    publish(tree, "20250601", updated=clock.now - 3000)
    earlier = on_disk(tree, INDEX, LIST)
    publish(tree, "20250701", updated=clock.now - 2000)
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)
    proxy.cache.offline.turn(on=True)
    assert await proxy.cache.refresh("test", accept_older=True) is not None
    proxy.cache.offline.turn(on=False)

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == current


async def test_another_order_does_not_take_the_leave_to_go_back(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    publish(tree, "20250601", updated=clock.now - 3000)
    earlier = on_disk(tree, INDEX, LIST)
    publish(tree, "20250701", updated=clock.now - 2000)
    await bodies(proxy, INDEX, LIST)
    for path, raw in zip((INDEX, LIST), earlier, strict=True):
        tree.write(path, raw)

    await asyncio.gather(
        proxy.cache.refresh("test", accept_older=True), *(proxy.cache.refresh("test") for _ in range(3))
    )

    assert await bodies(proxy, INDEX, LIST) == earlier


async def test_going_back_still_needs_a_signature(
    proxy: RunningProxy, tree: SignedTree, clock: Clock, veteran: SigningKey
) -> None:
    publish(tree, "20250701", updated=clock.now - 2000)
    current = await bodies(proxy, INDEX, LIST)
    tree.key = veteran
    publish(tree, "20250601", updated=clock.now - 3000)

    status, _ = await accept_older(proxy, "test")

    assert status == 502
    assert await bodies(proxy, INDEX, LIST) == current


async def test_nothing_goes_back_where_something_newer_can_be_had(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    publish(tree, "20250601", updated=clock.now - 3000)
    behind = SignedTree(tmp_path / "behind", tree.key)
    for path in (INDEX, LIST):
        behind.write(path, (tree.root / path).read_bytes())
    publish(tree, "20250701", updated=clock.now - 2000)
    async with Origin(behind.root) as first:
        async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
            await bodies(proxy, INDEX)
        both = replace(mirror, origins=(first.url, origin.url))
        async with run_proxy(make_config(tmp_path / "data", both), clock) as proxy:
            await accept_older(proxy, "test")
            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_list_alone_may_go_back_too(proxy: RunningProxy, tree: SignedTree, clock: Clock) -> None:
    publish(tree, "20250601", updated=clock.now - 3000)
    [earlier] = on_disk(tree, LIST)
    publish(tree, "20250701", updated=clock.now - 2000)
    await bodies(proxy, INDEX, LIST)
    tree.publish(updated=clock.now - 1000)
    tree.write(LIST, earlier)

    status, _ = await accept_older(proxy, "test")

    assert status == 200
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_what_stays_when_others_go_back_does_not_go_back_later(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    tree.add_item("other", "1", "squashfs", content_id="second")
    publish(tree, "20250601", updated=clock.now - 3000)
    index, lists = on_disk(tree, INDEX), on_disk(tree, LIST, "streams/v1/second.sjson")
    publish(tree, "20250701", updated=clock.now - 2000)
    await bodies(proxy, INDEX, LIST)
    kept = on_disk(tree, LIST)
    for path, raw in ((INDEX, index[0]), ("streams/v1/second.sjson", lists[1])):
        tree.write(path, raw)
    assert (await accept_older(proxy, "test"))[0] == 200
    assert await bodies(proxy, INDEX, LIST) == [*index, *kept]

    tree.write(LIST, lists[0])
    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == [*index, *kept]


async def test_another_stream_under_the_same_name_is_taken_on_purpose(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    publish(tree, "20250701", updated=clock.now - 2000)
    other = SignedTree(tmp_path / "other", tree.key)
    other.add_item("other", "1", "squashfs", content_id="other")
    other.publish(updated=clock.now - 3000)
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        await bodies(proxy, INDEX, LIST)
    async with Origin(other.root) as elsewhere:
        moved = replace(mirror, origins=(elsewhere.url,))
        async with run_proxy(make_config(tmp_path / "data", moved), clock) as proxy:
            await proxy.documents.checks.revalidate()
            assert any("--accept-older" in problem for problem in await problems(proxy))
            assert (await accept_older(proxy, "test"))[0] == 200
            assert await bodies(proxy, INDEX, "streams/v1/other.sjson") == on_disk(
                other, INDEX, "streams/v1/other.sjson"
            )


@pytest.mark.parametrize("is_flavour", [False, True])
async def test_another_stream_of_the_same_key_does_not_replace_this_one_though_newer(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock, is_flavour: bool
) -> None:
    """MAAS' candidate and stable images differ in nothing but the names of their lists."""
    publish(tree, "20250701", updated=clock.now - 2000)
    other = SignedTree(tmp_path / "other", tree.key)
    for name in ("com.ubuntu.maas:candidate:v3:download", "com.ubuntu.maas:candidate:1:bootloader-download"):
        other.add_item(PRODUCT, "20250722", "squashfs", content_id=name)
    other.publish(updated=clock.now - 1000, detached=True)
    if is_flavour:
        (other.root / INDEX).unlink()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        current = await bodies(proxy, INDEX, LIST)
    async with Origin(other.root) as elsewhere:
        moved = replace(mirror, origins=(elsewhere.url,))
        async with run_proxy(make_config(tmp_path / "data", moved), clock) as proxy:
            await proxy.documents.checks.revalidate()
            assert await bodies(proxy, INDEX, LIST) == current
            told = " ".join(await problems(proxy))
            assert "is of another stream: it names com.ubuntu.maas:candidate:1:bootloader-download" in told
            assert "sstream-proxy refresh --accept-older test" in told

            assert (await accept_older(proxy, "test"))[0] == 200
            path = "streams/v1/com.ubuntu.maas:candidate:v3:download"
            path += ".json" if is_flavour else ".sjson"
            assert await bodies(proxy, path) == on_disk(other, path)


async def test_an_index_without_lists_takes_none_away_at_once_and_frees_from_no_stream(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """The programs of publishers fail; whoever stands between may keep what they did then."""
    publish(tree, "20250701", updated=clock.now - 3000)
    current = await bodies(proxy, INDEX, LIST)
    tree._documents.clear()
    tree.publish(updated=clock.now - 2000)
    empty = on_disk(tree, INDEX)
    assert said_by(empty[0])["index"] == {}
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == current
    assert "names no list any more" in (await stats(proxy))["last_problem"]

    clock.now += 7 * HOUR_S
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX) == empty
    tree.add_item(PRODUCT, "20250722", "squashfs", content_id="com.ubuntu.maas:candidate:v3:download")
    tree.publish(updated=clock.now - 1000)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX) == empty
    assert "is of another stream" in (await stats(proxy))["too_old"]


async def test_a_stream_may_gain_lists_and_lose_others(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    for number in range(4):
        tree.add_item(PRODUCT, "1", "squashfs", content_id=f"list{number}")
        tree.add_item(PRODUCT, "1", "squashfs", content_id=f"list{number + 1}")
        tree._documents.pop(f"list{number - 1}", None)
        tree.publish(updated=clock.now - 100 + number)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX) == on_disk(tree, INDEX)
    assert (await stats(proxy))["refusals"] == 0


async def test_a_record_of_an_earlier_release_binds_to_the_lists_that_it_had(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, clock: Clock
) -> None:
    publish(tree, "20250701", updated=clock.now - 2000)
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config, clock) as proxy:
        current = await bodies(proxy, INDEX, LIST)
        storage = proxy.cache.storage
        record = await storage.threads.ledger(recorded, storage.ledger, "generation/test")
        for name in ("content_ids", "left", "broken", "oddities"):
            record.pop(name, None)
        for document in record["documents"].values():
            for name in ("is_ahead", "least_updated", "least_signed_at"):
                document.pop(name, None)
        await storage.threads.ledger(storage.ledger.write, "generation/test", record)
    other = SignedTree(tree.root, tree.key)
    other.add_item(PRODUCT, "2", "squashfs", content_id="other")
    other.publish(updated=clock.now - 1000)
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST) == current
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == current
        assert "is of another stream" in (await stats(proxy))["too_old"]


async def test_whoever_goes_back_names_the_mirrors(proxy: RunningProxy, tree: SignedTree) -> None:
    publish(tree, "20250701")
    assert (await accept_older(proxy))[0] == 400

"""What the keeper does by itself: scrubbing, making room, dropping what nobody names, recovering."""

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from yarl import URL

from proxy.digest import Digest
from proxy.fills import first_bytes
from proxy.jobs.scrub import Scrubber, ScrubPolicy
from proxy.jobs.upkeep import Upkeep
from proxy.mirror import Mirror
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction_order import Usage
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.recovery import set_damaged_ledger_aside

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
DAY = 86400.0


@pytest.fixture
def items(tree: SignedTree) -> list[TreeItem]:
    """Return three published items."""
    items = [tree.add_item(PRODUCT, "20250718", name, size=100_000) for name in ("one", "two", "three")]
    tree.publish()
    return items


async def fill(proxy: RunningProxy, items: list[TreeItem]) -> None:
    for item in items:
        assert (await proxy.read(item.path)).is_complete
        await proxy.fills_ended()  # A reply is complete a moment before its blob is in the ledger.


def rot(proxy: RunningProxy, item: TreeItem) -> None:
    """Flip a bit on the disk."""
    path = proxy.layout.path(Digest(item.digest))
    path.chmod(0o644)
    path.write_bytes(bytes([item.read()[0] ^ 1]) + item.read()[1:])


def scrubber_of(proxy: RunningProxy, clock: Clock, **policy: object) -> Scrubber:
    return Scrubber(proxy.cache, replace(ScrubPolicy(), **policy), clock)  # type: ignore[arg-type]


# Scrubbing


@pytest.mark.parametrize("value", [None, "text", [1.0], {"version": 2, "at": 1.0}], ids=repr)
async def test_a_scrub_that_somebody_asked_for_is_done_though_the_record_cannot_be_read(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], value: object
) -> None:
    await fill(proxy, items)
    rot(proxy, items[0])
    storage = proxy.cache.storage
    await storage.threads.ledger(storage.ledger.write, "asked scrub", value)
    clock.advance(60)
    scrubber = scrubber_of(proxy, clock)

    await scrubber.run()

    state = await scrubber.state()
    assert [name.split()[0] for name in state.damaged] == [items[0].digest]
    assert state.asked_at == clock()


async def test_a_rotten_blob_is_set_aside_and_fetched_again(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], origin: Origin
) -> None:
    await fill(proxy, items)
    rot(proxy, items[0])
    scrubber = scrubber_of(proxy, clock)
    clock.advance(60)  # Blobs are proved by the real clock.
    await scrubber.ask()

    await scrubber.run()
    state = await scrubber.state()

    assert [name.split()[0] for name in state.damaged] == [items[0].digest]
    assert "set aside, fetched again" in state.damaged[0]
    assert (proxy.layout.quarantine / items[0].digest).exists()
    assert (await proxy.read(items[0].path)).body == items[0].read()
    assert [origin.count(item.path) for item in items] == [2, 1, 1]


async def test_a_rotten_blob_that_cannot_be_had_is_served_to_nobody(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], origin: Origin
) -> None:
    await fill(proxy, items)
    rot(proxy, items[0])
    origin.fault(items[0].path, Fault(status=404))
    scrubber = scrubber_of(proxy, clock)
    clock.advance(60)  # Blobs are proved by the real clock.
    await scrubber.ask()

    await scrubber.run()

    assert "not fetched again" in (await scrubber.state()).damaged[0]
    assert (await proxy.read(items[0].path)).status == 404


async def test_a_document_that_rots_is_fetched_again(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem]
) -> None:
    await fill(proxy, items[:1])
    index = await proxy.read("streams/v1/index.sjson")
    generation = await proxy.cache.recorded("test")
    assert generation is not None
    path = proxy.layout.path(generation.documents["streams/v1/index.sjson"].digest)
    path.chmod(0o644)
    path.write_bytes(b"x" * path.stat().st_size)
    scrubber = scrubber_of(proxy, clock)
    clock.advance(60)  # Blobs are proved by the real clock.
    await scrubber.ask()

    await scrubber.run()
    again = await proxy.read("streams/v1/index.sjson")

    assert again.body == index.body


async def test_only_what_was_not_proved_lately_is_hashed(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So an interrupted scrub goes on where it was."""
    await fill(proxy, items)
    counts = proxy.cache.storage.counters
    hashed: list[int] = []
    monkeypatch.setattr(counts.store, "checked", hashed.append)
    scrubber = scrubber_of(proxy, clock, every_s=30 * DAY, rate_bytes=None)

    await scrubber.run()
    young = len(hashed)
    clock.now = time.time() + 31 * DAY
    await scrubber.run()
    old = len(hashed) - young

    assert not [size for size in hashed[:young] if size == items[0].size]
    assert len([size for size in hashed[young:] if size == items[0].size]) == len(items)
    assert old >= len(items)


async def test_scrubbing_keeps_to_its_rate(proxy: RunningProxy, clock: Clock, items: list[TreeItem]) -> None:
    await fill(proxy, items)
    clock.now = time.time() + 31 * DAY
    began = time.monotonic()
    await scrubber_of(proxy, clock, rate_bytes=200_000).run()
    assert time.monotonic() - began > 1.0  # 300 kB, of which a quarter of a second's worth passes at once.


async def test_clients_that_wait_for_a_first_byte_come_before_a_scrub(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "_WORK_BYTES", 1)
    waiting, rests_s = proxy.cache.first_bytes, list[float]()
    waiting._clock, waiting._sleep = (lambda: 1000.0), rests_s.append
    await fill(proxy, items)
    rests_s.clear()
    scrubber = scrubber_of(proxy, clock, rate_bytes=None)
    await scrubber.ask()
    with waiting.waited_for():
        await scrubber.run()
    assert rests_s


# Making room


async def test_room_is_made_ahead_of_need(
    tmp_path: Path, mirror: Mirror, items: list[TreeItem], clock: Clock
) -> None:
    limits = StoreLimits(limit_bytes=340_000, min_free_bytes=0)
    async with run_proxy(make_config(tmp_path / "data", mirror, cache=limits), clock) as proxy:
        for item in items:
            clock.advance(60)
            await fill(proxy, [item])
        room = proxy.cache.storage.room
        await proxy.cache.storage.threads.slow(room.make_headroom, 100_000)
        held = [item for item in items if proxy.store.has(Digest(item.digest))]

    assert held == items[1:]


async def test_what_no_list_names_goes_when_nobody_used_it_for_long(
    proxy: RunningProxy, clock: Clock, tree: SignedTree, items: list[TreeItem]
) -> None:
    await fill(proxy, items)
    tree.remove(items[0].path)
    tree.publish()
    limits = StoreLimits(keep_unlisted_s=30 * DAY)
    upkeep = Upkeep(proxy.cache, limits, scrubber_of(proxy, clock), clock)
    clock.now = time.time() + 2 * DAY
    await proxy.cache.refresh("test")
    await proxy.cache.storage.threads.ledger(
        lambda: proxy.cache.storage.pins.pin_all("by hand", [Digest(items[2].digest)])
    )

    await upkeep.tidy()
    early = proxy.store.has(Digest(items[0].digest))
    clock.now = time.time() + 31 * DAY
    await proxy.cache.refresh("test")
    await upkeep.tidy()

    assert early
    assert [proxy.store.has(Digest(item.digest)) for item in items] == [False, True, True]


# Recovering


def overwrite(path: Path) -> None:
    path.write_bytes(b"this is not SQLite" * 1000)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def drop_table(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE Cache")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [overwrite, truncate, drop_table])
@pytest.mark.parametrize("table", ["records", "blobs"])
async def test_a_damaged_ledger_is_set_aside_and_no_blob_is_lost(
    tmp_path: Path,
    mirror: Mirror,
    items: list[TreeItem],
    origin: Origin,
    damage: Callable[[Path], None],
    table: str,
) -> None:
    """The service starts and serves everything from the store, even with its origin gone."""
    data = tmp_path / "data"
    async with run_proxy(make_config(data, mirror)) as proxy:
        await fill(proxy, items)
    for rest in (data / "ledger" / table).glob("cache.db-*"):
        rest.unlink()
    await asyncio.to_thread(damage, data / "ledger" / table / "cache.db")
    await origin.stop()

    moved = await asyncio.to_thread(set_damaged_ledger_aside, data / "ledger")
    async with run_proxy(make_config(data, mirror)) as proxy:
        storage = proxy.cache.storage
        await storage.threads.slow(storage.reconciliation.reconcile)
        replies = [await proxy.read(item.path) for item in items]
        count = await storage.threads.ledger(storage.blobs.count)

    assert [path.name.startswith(f"damaged-{table}") for path in moved] == [True]
    assert [reply.body for reply in replies] == [item.read() for item in items]
    assert {reply.cache_status for reply in replies} == {"hit"}
    assert count >= len(items)


@pytest.mark.parametrize("begun", ["", "CREATE TABLE Settings (key TEXT NOT NULL UNIQUE, value)"])
async def test_a_ledger_that_a_full_disk_did_not_let_begin_is_not_damaged(tmp_path: Path, begun: str) -> None:
    """Or there would be another folder and another error every second."""

    def begin() -> list[Path]:
        for table in ("records", "blobs"):
            (tmp_path / table).mkdir()
            with closing(sqlite3.connect(tmp_path / table / "cache.db")) as connection:
                connection.execute("PRAGMA journal_mode = wal")
                connection.execute(begun)
        return set_damaged_ledger_aside(tmp_path)

    def use() -> int:
        with closing(Ledger(tmp_path)) as ledger:
            ledger.try_out()
            return BlobRecords(ledger).count()

    assert await asyncio.to_thread(begin) == []
    assert await asyncio.to_thread(use) == 0


@pytest.mark.parametrize("lose", [Path.unlink, partial(os.truncate, length=0)], ids=["gone", "empty"])
def test_what_is_left_of_a_lost_database_is_kept(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    """SQLite would begin anew without a word, and remove the log that has the last pins."""
    with closing(Ledger(tmp_path / "ledger")) as ledger:
        ledger.write("pin/of somebody", ["somebody"])
        shutil.copytree(tmp_path / "ledger", tmp_path / "lost")
    lose(tmp_path / "lost" / "records" / "cache.db")

    [kept] = set_damaged_ledger_aside(tmp_path / "lost")

    assert kept.name.startswith("damaged-records-")
    assert b"of somebody" in (kept / "cache.db-wal").read_bytes()


async def test_a_good_ledger_is_left_alone(tmp_path: Path, mirror: Mirror, items: list[TreeItem]) -> None:
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        await fill(proxy, items)
        assert await asyncio.to_thread(set_damaged_ledger_aside, tmp_path / "data" / "ledger") == []
    assert await asyncio.to_thread(set_damaged_ledger_aside, tmp_path / "data" / "ledger") == []
    assert await asyncio.to_thread(set_damaged_ledger_aside, tmp_path / "nowhere") == []


async def test_a_service_without_its_ledger_starts_anew_offline_and_serves_all_it_has(
    tmp_path: Path, mirror: Mirror, items: list[TreeItem], origin: Origin
) -> None:
    data = tmp_path / "data"
    async with run_proxy(make_config(data, mirror)) as proxy:
        await fill(proxy, items)
    await origin.stop()
    for file in sorted((data / "ledger").rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()

    config = write_config(tmp_path, mirror)
    config.write_text("offline = true\n" + config.read_text())
    async with (
        run_service(config) as service,
        Exchange(URL(f"{service.base}{MOUNT}{items[0].path}")) as client,
    ):
        reply = await client.rest()

    assert reply.body == items[0].read()


async def test_served_documents_are_protected_at_once_after_the_ledger_was_lost(
    tmp_path: Path, mirror: Mirror, items: list[TreeItem], origin: Origin
) -> None:
    data = tmp_path / "data"
    async with run_proxy(make_config(data, mirror)) as proxy:
        await fill(proxy, items)
        generation = await proxy.cache.recorded("test")
    assert generation is not None
    documents = {document.digest for document in generation.documents.values()}
    await origin.stop()
    await asyncio.to_thread(shutil.rmtree, data / "ledger")

    async with run_proxy(make_config(data, mirror, offline=True)) as proxy:
        await proxy.cache.recorded("test")
        storage = proxy.cache.storage
        protected = await storage.threads.slow(storage.eviction.protected)

    assert documents <= protected


async def test_a_blob_that_cannot_be_read_now_is_not_damaged(
    proxy: RunningProxy, clock: Clock, items: list[TreeItem], monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(proxy, items)
    scrubber = scrubber_of(proxy, clock)
    clock.advance(60)  # Blobs are proved by the real clock.
    await scrubber.ask()
    opened = os.open

    def fail(path: str | Path, *arguments: int) -> int:
        if str(path).endswith(items[0].digest):
            raise OSError(24, "Too many open files")
        return opened(path, *arguments)

    monkeypatch.setattr("proxy.store.local.inspection.os.open", fail)
    await scrubber.run()

    assert proxy.store.has(Digest(items[0].digest))
    assert (await scrubber.state()).completed_at is None


async def test_what_is_pinned_while_others_go_stays(proxy: RunningProxy, tree: SignedTree) -> None:
    many = [tree.add_item(PRODUCT, "20250719", f"item{n}", size=10) for n in range(50)]
    tree.publish()
    await fill(proxy, many)
    storage = proxy.cache.storage
    usages = [Usage(Digest(item.digest), item.size, 0.0) for item in many]
    asked: list[set[Digest]] = []

    def spared() -> set[Digest]:
        asked.append(storage.eviction.protected())
        storage.pins.pin_all("by hand", [Digest(many[-1].digest)])
        return asked[-1]

    await storage.threads.slow(lambda: storage.eviction.evict(usages, spared=spared))

    assert len(asked) > 1
    assert [item for item in many if proxy.store.has(Digest(item.digest))] == many[-1:]

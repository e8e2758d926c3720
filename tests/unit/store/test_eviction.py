"""Removing for room: a blob is gone at once, and nobody waits for the disk to free its bytes."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from threading import Event, Thread

import pytest
from support.holding import Holding
from support.keeping import Keeping
from support.layout import layout_of
from support.stored import removed

from proxy.digest import Digest, digest_of
from proxy.store.blob_records import BlobRecords
from proxy.store.eviction import Eviction
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.removal import LocalRemoval
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins
from proxy.store.room import Room
from proxy.system.threads import Threads

NEW, OTHER = digest_of(b"new"), digest_of(b"other")
DATA = bytes(60)
OLD = digest_of(DATA)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return a store of one blob."""
    store = LocalStore(tmp_path / "data")
    store.put(DATA)
    return store


@pytest.fixture
def ledger(tmp_path: Path, store: LocalStore) -> Iterator[Ledger]:  # noqa: ARG001 - made first
    with closing(Ledger(tmp_path / "data" / "ledger")) as ledger:
        BlobRecords(ledger).add(OLD, len(DATA))
        yield ledger


@pytest.fixture
def keeping(store: LocalStore, ledger: Ledger) -> Keeping:
    return Keeping(store, ledger, StoreLimits(limit_bytes=100, min_free_bytes=0))


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads()
    yield threads
    await threads.close()


class SlowDisk:
    """Frees no bytes until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_asked, self._is_released = Event(), Event()
        finish = LocalRemoval.finish

        def finish_when_released(removal: LocalRemoval) -> None:
            self.is_asked.set()
            assert self._is_released.wait(30)
            finish(removal)

        monkeypatch.setattr(LocalRemoval, "finish", finish_when_released)

    def release(self) -> None:
        """Let the disk go on."""
        self._is_released.set()


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.release()


def test_nobody_who_writes_the_ledger_waits_for_bytes_to_be_freed(
    store: LocalStore, ledger: Ledger, keeping: Keeping, slow_disk: SlowDisk
) -> None:
    evicting = Thread(target=lambda: keeping.evict(BlobRecords(ledger).usages()))
    evicting.start()
    assert slow_disk.is_asked.wait(30)

    Pins(ledger).pin_all("meanwhile", [OTHER])

    assert evicting.is_alive()
    assert not store.has(OLD)
    slow_disk.release()
    evicting.join()
    assert BlobRecords(ledger).usages() == []
    assert not list(layout_of(store).incoming.iterdir())


async def test_the_ledgers_thread_serves_others_while_room_is_made(
    store: LocalStore, keeping: Keeping, threads: Threads, slow_disk: SlowDisk
) -> None:
    room = Room(store, keeping.reservations, keeping.eviction, threads)
    reserving = asyncio.create_task(room.reserve(NEW, 80))
    await asyncio.to_thread(slow_disk.is_asked.wait, 30)

    async with asyncio.timeout(20):
        assert await threads.ledger(room.may_fit, OTHER, 10)

    assert not reserving.done()
    slow_disk.release()
    assert await reserving


async def test_who_waits_while_others_make_room_takes_what_they_left(
    store: LocalStore, ledger: Ledger, keeping: Keeping, threads: Threads, slow_disk: SlowDisk
) -> None:
    """Two that each need some of what one blob takes cost that blob, and no other."""
    kept = await threads.disk(store.put, bytes(40))
    await threads.ledger(BlobRecords(ledger).add, kept, 40)
    await threads.ledger(BlobRecords(ledger).touch, {OLD: ledger.clock() - 60})
    room = Room(store, keeping.reservations, keeping.eviction, threads)
    reserving = [asyncio.create_task(room.reserve(digest, 20)) for digest in (NEW, OTHER)]
    await asyncio.to_thread(slow_disk.is_asked.wait, 30)
    slow_disk.release()

    assert await asyncio.gather(*reserving) == [True, True]
    assert (store.has(OLD), store.has(kept)) == (False, True)


BLOBS = 10
"""Of ten bytes each: the store is full."""


@pytest.fixture
async def full(tmp_path: Path, threads: Threads) -> Keeping:
    store = await threads.disk(LocalStore, tmp_path / "full")
    ledger = await threads.ledger(Ledger, tmp_path / "full" / "ledger")
    threads.when_ended(ledger.close)
    keeping = Keeping(store, ledger, StoreLimits(limit_bytes=10 * BLOBS, min_free_bytes=0))
    for number in range(BLOBS):
        data = bytes([number]) * 10
        await threads.disk(store.put, data)
        await threads.ledger(keeping.blobs.add, digest_of(data), len(data))
    return keeping


async def test_who_needs_little_waits_for_one_turn_of_those_who_need_much(
    tmp_path: Path, full: Keeping, threads: Threads
) -> None:
    ticks = itertools.count()
    store = LocalStore(tmp_path / "full")
    room = Room(store, full.reservations, full.eviction, threads, clock=lambda: float(next(ticks)))
    much = asyncio.create_task(room.reserve(NEW, 80))
    little = asyncio.create_task(room.reserve(OTHER, 5))

    assert await little
    left = await threads.ledger(full.blobs.count)

    assert await much
    assert left > BLOBS / 2
    assert await threads.ledger(full.blobs.count) == 1


@pytest.mark.parametrize(("thefts", "is_there_room"), [(3, True), (BLOBS, False)])
async def test_what_others_took_meanwhile_goes_once_more_but_not_without_end(
    tmp_path: Path, full: Keeping, threads: Threads, thefts: int, *, is_there_room: bool
) -> None:
    ledger = await threads.ledger(Ledger, tmp_path / "full" / "ledger")
    threads.when_ended(ledger.close)
    stolen = itertools.count()

    def steal(size_bytes: int) -> None:
        if (number := next(stolen)) < thefts:
            full.blobs.add(digest_of(f"stolen {number}".encode()), size_bytes)

    store = LocalStore(tmp_path / "full")
    parts = (store, ledger, full.blobs, full.pins, full.reservations)
    eviction = Eviction(*parts, on_evicted=steal)
    room = Room(store, full.reservations, eviction, threads, clock=lambda: 0.0)

    assert await room.reserve(NEW, 20) is is_there_room
    assert await threads.ledger(full.blobs.count) == (BLOBS - 2 if is_there_room else BLOBS)
    assert next(stolen) <= 3 * 2


@pytest.mark.parametrize("oldest", [bytes(10), b""], ids=["is read", "is empty"])
async def test_a_turn_that_has_freed_nothing_goes_on(
    tmp_path: Path, full: Keeping, threads: Threads, oldest: bytes
) -> None:
    """On a slow disk each turn is over before it has found out that what is oldest frees nothing."""
    store, ticks = LocalStore(tmp_path / "full"), itertools.count()
    await threads.disk(store.put, oldest)
    await threads.ledger(full.blobs.add, digest_of(oldest), len(oldest))
    in_order = [digest_of(oldest), *(digest_of(bytes([number]) * 10) for number in range(1, BLOBS))]
    used_at = {digest: float(moment) for moment, digest in enumerate(in_order)}
    await threads.ledger(full.blobs.touch, used_at)
    room = Room(store, full.reservations, full.eviction, threads, clock=lambda: float(next(ticks)))
    blob = store.open(digest_of(oldest)) if oldest else None

    assert await room.reserve(NEW, 20)

    kept = in_order[:1] if oldest else []
    assert [digest for digest in in_order if store.has(digest)] == kept + in_order[3:]
    if blob is not None:
        blob.close()


WITHDRAW = """
from pathlib import Path
from proxy.store.local.store import LocalStore
removal = LocalStore(Path(sys.argv[1])).withdraw(sys.argv[2])
"""


def test_bytes_whose_removal_was_never_finished_go_later(store: LocalStore, keeping: Keeping) -> None:
    with Holding(WITHDRAW, layout_of(store).root, OLD):
        assert not store.has(OLD)
        keeping.reconcile()
        assert len(list(layout_of(store).incoming.iterdir())) == 1  # Its process is at it.
    keeping.reconciliation.tidy()
    assert not list(layout_of(store).incoming.iterdir())


def test_a_blob_goes_though_somebody_has_removed_the_folder_of_drafts(store: LocalStore) -> None:
    layout_of(store).incoming.rmdir()
    assert removed(store, OLD)
    assert not store.has(OLD)


def test_of_spared_blobs_nothing_is_touched(store: LocalStore, ledger: Ledger, keeping: Keeping) -> None:
    eviction: Eviction = keeping.eviction
    assert eviction.evict(BlobRecords(ledger).usages(), spared=lambda: {Digest(OLD)}) == 0
    assert store.has(OLD)


def test_what_is_stored_again_while_its_old_bytes_are_freed_keeps_its_row(
    store: LocalStore, keeping: Keeping, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = SlowDisk(monkeypatch)
    blobs = BlobRecords(ledger)
    evicting = Thread(target=keeping.eviction.evict, args=(blobs.usages(),))
    evicting.start()
    assert disk.is_asked.wait(30)
    store.put(DATA)
    blobs.add(OLD, len(DATA))
    disk.release()
    evicting.join()

    assert store.has(OLD)
    assert blobs.total_bytes() == len(DATA)
    assert [usage.digest for usage in blobs.usages()] == [OLD]

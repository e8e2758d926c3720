"""Clients and jobs share one fill of an item, which gives way to others and ends when nobody wants it."""

import asyncio
import errno
import os
import re
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.transfers import Process, Received, listed, run_process
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest, Verifier, digest_of
from proxy.fills.bodies import Outcome
from proxy.fills.demand import Demand
from proxy.fills.errors import BadItem, OutOfReach
from proxy.fills.feed import FeedOptions
from proxy.fills.fill import Fill
from proxy.fills.pace import Background
from proxy.fills.state import State
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent
from proxy.store.files import StoreFault
from proxy.store.ledger import LedgerUnavailable
from proxy.store.local import incoming
from proxy.store.local.incoming import LocalIncoming

MIB = 1024 * 1024


class Waiting:
    """A clock and a sleep: time stands still, and whoever sleeps is held until told otherwise."""

    def __init__(self) -> None:
        self.sleeps = asyncio.Event()
        self.may_go_on = asyncio.Event()
        self.now = 1000.0

    async def sleep(self, _: float) -> None:
        self.sleeps.set()
        await self.may_go_on.wait()
        self.now += 60


def ended(fill: Fill, state: State) -> bool:
    """Whether a fill has ended so."""
    return fill.progress.state is state


@pytest.fixture
def waiting() -> Waiting:
    return Waiting()


@pytest.fixture
async def polite(data_dir: Path, origin: Origin, waiting: Waiting) -> AsyncIterator[Process]:
    """Return a process whose background sleeps as the test says."""

    def background(demand: Demand) -> Background:
        return Background(demand, None, lambda: waiting.now, waiting.sleep)

    async with run_process(data_dir, origin, background=background) as process:
        yield process


async def test_ten_clients_cause_one_request_and_each_gets_all(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    bodies = await asyncio.gather(*(process.read(item, f"192.0.2.{number}") for number in range(10)))
    assert set(bodies) == {listing.read()}
    assert origin.count(item.path) == 1


async def test_the_first_is_a_miss_the_second_joins_and_the_job_finds_it_there(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    held = origin.fault(item.path, Fault(stall_after=MIB))
    first = await process.open(item)
    second = await process.open(item, "192.0.2.2")
    assert (first.outcome, second.outcome) == (Outcome.MISS, Outcome.JOIN)
    assert (process.fill.progress.state, process.fill.is_led_elsewhere) == (State.LEADING, False)
    assert re.fullmatch(
        rf"Flights\(\['Fill\({item.digest[:12]} leading, [\d.]+ [KM]iB of 3.0 MiB; 2 clients, 0 jobs\)'\]; "
        r"Places\(1 of 8 taken, 0 waiting\)\)",
        repr(process.flights),
    )
    held.remove()
    for opened in (first, second):
        await opened.body.send_to(Received(), 0, item.size_bytes)
        await opened.body.close()
    await process.flights.ended()
    assert await process.fetch(item) == []
    assert repr(process.flights) == "Flights([]; Places(0 of 8 taken, 0 waiting))"


async def test_a_miss_asks_the_ledger_once_before_once_for_room_and_once_at_the_end(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    gate = origin.fault(item.path, Fault(stall_after=MIB))
    opened = await process.open(item)
    assert process.threads.ledger_visits == 2
    joined = await process.open(item, "192.0.2.2")
    assert process.threads.ledger_visits == 3
    gate.remove()
    await process.flights.ended()
    assert process.threads.ledger_visits == 4
    await opened.body.close()
    await joined.body.close()


async def test_a_job_sees_the_bytes_grow(process: Process, listing: TreeItem) -> None:
    seen = await process.fetch(listed(listing))
    assert seen == sorted(seen)
    assert seen[-1] == listing.size
    assert process.store.has(Digest(listing.digest))


async def test_a_prefetch_gives_way_while_a_client_waits_for_something_else(
    polite: Process, waiting: Waiting, listing: TreeItem
) -> None:
    polite.facilities.demand.note(digest_of(b"something else"), waiting.now)
    fetching = asyncio.create_task(polite.fetch(listed(listing)))
    async with asyncio.timeout(10):
        await waiting.sleeps.wait()
    fill = polite.fill
    async with asyncio.timeout(10):
        while not fill.progress.filled_bytes:
            await fill.progress.changed()
    # It has taken the one piece after which it was told to wait.
    assert fill.progress.filled_bytes <= MIB < listing.size
    assert not fetching.done()
    waiting.may_go_on.set()
    await fetching
    assert polite.store.has(Digest(listing.digest))


async def test_a_client_that_joins_a_prefetch_is_not_made_to_give_way(
    polite: Process, waiting: Waiting, listing: TreeItem
) -> None:
    polite.facilities.demand.note(digest_of(b"something else"), waiting.now)
    item = listed(listing)
    fetching = asyncio.create_task(polite.fetch(item))
    async with asyncio.timeout(10):
        await waiting.sleeps.wait()
        reading = asyncio.create_task(polite.read(item))
        while not polite.fill._interest.clients:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        waiting.may_go_on.set()
        waiting.may_go_on.clear()
        assert await reading == listing.read()
        waiting.may_go_on.set()
        await fetching


async def test_what_the_last_job_leaves_ends_and_the_next_one_goes_on_with_it(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    held = origin.fault(item.path, Fault(stall_after=2 * MIB))
    fetching = asyncio.create_task(process.fetch(item))
    async with asyncio.timeout(10):
        await held.reached.wait()
        fill = process.fill
        while not fill.progress.filled_bytes:
            await fill.progress.changed()
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    await process.flights.ended()
    assert fill.progress.state is State.STOPPED
    held.remove()

    await process.fetch(item)

    assert process.store.has(item.digest)
    assert origin.count(item.path) == 2
    assert "Range" in origin.gets(item.path)[1].headers


async def test_a_client_that_leaves_before_the_first_byte_costs_nothing_afterwards(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    gate = origin.gate(item.path)
    opening = asyncio.create_task(process.open(item))
    await gate.waiting(1)
    fill = process.fill
    opening.cancel()
    await asyncio.gather(opening, return_exceptions=True)
    assert fill.progress.state is State.LEADING
    await process.flights.ended()
    gate.open()
    assert ended(fill, State.STOPPED)
    assert not list(process.folders.incoming.iterdir())
    assert await process.threads.ledger(process.storage.reservations.arriving) == []
    assert await process.record(f"reserved/{item.digest}") is None


async def test_of_transfers_that_all_clients_left_some_go_on_and_the_longest_ends(
    process: Process, origin: Origin, tree: SignedTree
) -> None:
    """A quarter of the eight places may be taken by what nobody waits for."""
    items = [tree.add_item("product", "1", f"disk{n}", size=(2 + n) * MIB) for n in range(3)]
    held = origin.fault("*disk*", Fault(stall_after=MIB))
    fills: list[Fill] = []
    for one in items:
        opened = await process.open(listed(one))
        (fill,) = process.flights._running - {*fills}
        fills.append(fill)
        while fill.progress.filled_bytes < MIB // 2:
            await fill.progress.changed()
        await opened.body.close()
    assert [fill.progress.state for fill in fills[:2]] == [State.LEADING] * 2
    assert fills[2].progress.state is State.LEAVING
    held.remove()
    await process.flights.ended()
    assert [process.store.has(Digest(one.digest)) for one in items] == [True, True, False]


async def test_of_transfers_that_clients_left_before_a_byte_came_some_go_on_and_the_longest_ends(
    process: Process, origin: Origin, tree: SignedTree
) -> None:
    """Whoever left first may have been impatient; it is looked at again a moment later."""
    items = [listed(tree.add_item("product", "1", f"disk{n}", size=(2 + n) * MIB)) for n in range(3)]
    gate = origin.gate("*disk*")
    origin.fault("*disk*", Fault(stall_after=MIB))
    openings = [asyncio.create_task(process.open(one)) for one in items]
    await gate.waiting(3)
    longest = max(process.flights._running, key=lambda fill: fill.left_bytes)
    for one in openings:
        one.cancel()
    await asyncio.gather(*openings, return_exceptions=True)
    gate.open()
    async with asyncio.timeout(20):
        while longest.progress.state is State.LEADING:
            await longest.progress.changed()
    assert longest.progress.state in {State.LEAVING, State.STOPPED}
    others = process.flights._running - {longest}
    assert [fill.progress.state for fill in others] == [State.LEADING] * 2


async def test_what_was_read_to_its_end_takes_no_place_of_those_that_go_on(
    process: Process, origin: Origin, tree: SignedTree
) -> None:
    whole = [listed(tree.add_item("product", "1", f"whole{n}", size=2 * MIB)) for n in range(2)]
    for one in whole:
        opened = await process.open(one)
        await opened.body.send_to(Received(), 0, one.size_bytes)
        await process.flights.ended()
        await opened.body.close()
    origin.fault("*disk*", Fault(stall_after=MIB))
    opened = await process.open(listed(tree.add_item("product", "1", "disk", size=3 * MIB)))
    fill = process.fill
    while fill.progress.filled_bytes < MIB // 2:
        await fill.progress.changed()
    await opened.body.close()
    assert fill.progress.state is State.LEADING


async def test_a_transfer_that_waits_for_its_place_ends_with_the_last_who_wanted_it(
    process: Process, origin: Origin, tree: SignedTree
) -> None:
    """Half of the eight places are one client's."""
    items = [listed(tree.add_item("product", "1", f"disk{n}", size=2 * MIB)) for n in range(5)]
    gate = origin.gate("*disk*")
    running = [asyncio.create_task(process.open(one)) for one in items[:4]]
    await gate.waiting(4)
    wanted, unwanted = [asyncio.create_task(process.open(items[4])) for _ in range(2)]
    while len(process.flights._running) < 5:  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0)
    (queued,) = [one for one in process.flights._running if one.progress.state is State.QUEUED]
    while queued._interest.clients.total() < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    unwanted.cancel()
    await asyncio.gather(unwanted, return_exceptions=True)
    assert queued.progress.state is State.QUEUED
    wanted.cancel()
    await asyncio.gather(wanted, return_exceptions=True)
    assert queued.progress.state in {State.LEAVING, State.STOPPED}
    gate.open()
    for opened in await asyncio.gather(*running):
        await opened.body.close()


async def test_who_comes_while_a_fill_is_leaving_begins_another(
    process: Process, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    gate = origin.gate(item.path)
    fetching = asyncio.create_task(process.fetch(item))
    await gate.waiting(1)
    leaving = process.fill
    leaving.let_go()
    assert leaving.progress.state is State.LEAVING
    assert not leaving.is_joinable
    leaving.let_go()
    gate.open()
    assert await process.read(item) == listing.read()
    with pytest.raises(Exception, match="was stopped"):
        await fetching


async def test_a_fill_that_is_stopped_before_it_ran_tells_who_waits(
    process: Process, listing: TreeItem
) -> None:
    item = listed(listing)
    fill, _ = process.flights.join(item, Source(process.route, item.path))
    with fill.wanted_by("192.0.2.1"):
        fill.task.cancel()
        async with asyncio.timeout(10):
            with pytest.raises(StoreFault, match="stopped"):
                await fill.begun()
    assert ended(fill, State.STOPPED)
    await process.flights.ended()
    assert await process.read(item) == listing.read()


async def test_who_waits_is_told_what_the_disk_said(
    process: Process, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(process.store, "acquire", fail)
    fill, _ = process.flights.join(listed(listing), Source(process.route, listing.path))
    with fill.wanted_by("192.0.2.1"), pytest.raises(StoreFault, match="the disk failed: Input/output error"):
        await fill.begun()
    assert ended(fill, State.FAILED)


async def test_a_fill_that_is_stopped_while_it_locks_its_file_lets_go_of_it(
    process: Process, listing: TreeItem
) -> None:
    """Nobody else could lead until this process ends."""
    item, is_free = listed(listing), threading.Event()
    busy = [asyncio.create_task(process.threads.disk(is_free.wait)) for _ in range(8)]
    fill, _ = process.flights.join(item, Source(process.route, item.path))
    with fill.wanted_by("192.0.2.1"):
        while fill.progress.state is State.QUEUED:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        fill.task.cancel()
        await asyncio.sleep(0)
        assert not fill.task.done()
        is_free.set()
        await asyncio.gather(*busy)
        await process.flights.ended()
    another = await process.threads.disk(process.store.acquire, item.digest, item.size_bytes)
    assert another is not None
    await process.threads.disk(another.close)


async def test_nobody_waits_while_the_beginnings_of_others_are_hashed_again(
    process: Process, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a restart, on a disk that takes its time to give them."""
    is_free, hashed = threading.Event(), asyncio.Semaphore(0)
    loop, hash_again = asyncio.get_running_loop(), incoming._hash_again

    def hash_slowly(fd: int, verifier: Verifier) -> None:
        if os.fstat(fd).st_size:
            loop.call_soon_threadsafe(hashed.release)
            is_free.wait()
        hash_again(fd, verifier)

    monkeypatch.setattr(incoming, "_hash_again", hash_slowly)
    begun = [Item(f"begun{n}", digest_of(b"%d" % n), 6 * MIB) for n in range(7)]
    for one in begun:
        with process.folders.partial(one.digest).open("wb") as file:
            file.truncate(5 * MIB)
    opening = [asyncio.create_task(process.open(one, f"192.0.2.{n}")) for n, one in enumerate(begun, 2)]
    busy = asyncio.create_task(process.threads.disk(is_free.wait))
    try:
        async with asyncio.timeout(20):
            for _ in begun:
                await hashed.acquire()
            assert await process.read(listed(listing)) == listing.read()
    finally:
        is_free.set()
    await busy
    for opened in await asyncio.gather(*opening):
        await opened.body.close()
    await process.flights.ended()


async def test_what_was_found_bad_or_absent_is_not_asked_for_again(
    process: Process, origin: Origin, clock: Clock, tree: SignedTree
) -> None:
    bad = tree.add_item("product", "1", "bad", size=100_000)
    gone = tree.add_item("product", "1", "gone", size=100_000)
    origin.fault(bad.path, Fault(corrupt_at=5))
    origin.fault(gone.path, Fault(status=404))
    for error, item in ((BadItem, listed(bad)), (ItemAbsent, listed(gone))):
        with pytest.raises(error):
            await process.read(item)
        asked = origin.count(item.path)
        with pytest.raises(error):
            await process.read(item)
        with pytest.raises(error):
            await process.fetch(item)
        assert origin.count(item.path) == asked
    origin.heal()
    clock.advance(400)
    assert await process.read(listed(bad)) == bad.read()
    assert await process.read(listed(gone)) == gone.read()


async def test_a_client_without_a_byte_learns_that_no_origin_can_be_reached(
    data_dir: Path, origin: Origin, listing: TreeItem
) -> None:
    origin.fault(listing.path, Fault(refuse=True))
    feed = FeedOptions(first_byte_within_s=0.1)
    async with run_process(data_dir, origin, feed=feed) as process:
        with pytest.raises(OutOfReach, match="no origin can be reached now"):
            await process.read(listed(listing))


async def test_a_process_that_ends_stops_its_fills_and_keeps_what_has_arrived(
    data_dir: Path, origin: Origin, listing: TreeItem
) -> None:
    item = listed(listing)
    held = origin.fault(item.path, Fault(stall_after=MIB))
    async with run_process(data_dir, origin) as process:
        opened = await process.open(item)
        await held.reached.wait()
        fill = process.fill
        await process.flights.close()
        assert fill.progress.state is State.STOPPED
        await opened.body.close()
    assert 0 < (data_dir / "incoming" / item.digest).stat().st_size <= MIB


async def test_a_process_that_ends_waits_until_what_is_proved_has_reached_the_disk(
    process: Process, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    item, disk_is_ready, commit = listed(listing), threading.Event(), LocalIncoming.commit

    def commit_slowly(incoming: LocalIncoming) -> None:
        disk_is_ready.wait(30)
        commit(incoming)

    monkeypatch.setattr(LocalIncoming, "commit", commit_slowly)
    opened = await process.open(item)
    fill = process.fill
    while fill.progress.state is not State.PROVED:
        await fill.progress.changed()
    closing = asyncio.create_task(process.flights.close())
    fill.let_go()
    disk_is_ready.set()
    await closing
    assert ended(fill, State.COMMITTED)
    assert process.store.has(item.digest)
    await opened.body.close()


async def test_what_cannot_be_recorded_as_bad_is_tried_a_few_times_and_no_more(
    process: Process, origin: Origin, listing: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger fails, so that no try learns from the one before."""

    def fail(*_: object) -> None:
        raise LedgerUnavailable("disk I/O error")

    monkeypatch.setattr(process.facilities.failures, "block", fail)
    item = listed(listing)
    origin.fault(item.path, Fault(corrupt_at=MIB))
    with pytest.raises(BadItem, match="sha256 is"):
        await process.read(item)
    assert origin.count(item.path) == 3
    with pytest.raises(BadItem, match="sha256 is"):
        await process.fetch(item)
    assert origin.count(item.path) == 6

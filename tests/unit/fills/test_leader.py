"""What becomes of a partial file, its reservation and what is known of its origins when a transfer ends."""

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.transfers import IMPATIENT, Process, Received, listed, run_process
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.fills.bodies import Outcome
from proxy.fills.errors import BadItem
from proxy.fills.leader import Leader
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent, ItemUnobtainable
from proxy.store.files import StoreFault
from proxy.store.limits import StoreLimits
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
from proxy.store.room import Room

MIB = 1024 * 1024


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.fixture
async def second(tree: SignedTree) -> AsyncIterator[Origin]:
    async with Origin(tree.root) as origin:
        yield origin


async def left(process: Process, item: Item) -> tuple[int | None, object]:
    """Return the bytes of the partial file, None without one, and what is reserved for it."""
    await process.flights.ended()
    path = process.folders.incoming / item.digest
    return path.stat().st_size if path.exists() else None, await process.record(f"reserved/{item.digest}")


async def test_a_good_transfer_leaves_a_blob_and_no_reservation(process: Process, item: Item) -> None:
    await process.fetch(item)
    assert await left(process, item) == (None, None)
    assert await process.record(f"filling/{item.digest}") is None
    assert await process.threads.ledger(process.storage.blobs.total_bytes) == item.size_bytes


async def test_what_was_written_before_there_was_room_is_had_as_soon_as_there_is(
    process: Process, origin: Origin, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only when more arrives: that may take long."""
    reserve, report, is_written = Room.reserve, Leader._report_written, asyncio.Event()

    def report_first(leader: Leader, length_bytes: int) -> None:
        report(leader, length_bytes)
        is_written.set()

    async def reserve_later(room: Room, *args: Any) -> bool:
        await is_written.wait()
        return await reserve(room, *args)

    monkeypatch.setattr(Leader, "_report_written", report_first)
    monkeypatch.setattr(Room, "reserve", reserve_later)
    stalled = origin.fault(item.path, Fault(stall_after=100_000))
    async with asyncio.TaskGroup() as tasks:
        client = Received()
        reading = tasks.create_task(process.read(item, into=client))
        async with asyncio.timeout(10):
            await client.is_begun.wait()
        stalled.remove()
        assert len(await reading) == item.size_bytes


async def test_what_has_come_before_an_outage_is_kept_with_as_much_room_and_gone_on_with(
    data_dir: Path, process: Process, origin: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(cut_after=MIB), times=1)
    dead = origin.fault(item.path, Fault(refuse=True))
    async with run_process(data_dir, origin, upstream=IMPATIENT) as impatient:
        with pytest.raises(ItemUnobtainable):
            await impatient.fetch(item)
        here_bytes, reserved = await left(impatient, item)
    assert here_bytes is not None
    assert here_bytes == reserved
    assert 0 < here_bytes <= MIB
    dead.remove()
    await process.fetch(item)
    assert origin.gets(item.path)[-1].headers["Range"] == f"bytes={here_bytes}-"
    assert await left(process, item) == (None, None)


async def test_what_is_cancelled_midway_is_kept_with_as_much_room(
    process: Process, origin: Origin, item: Item
) -> None:
    held = origin.fault(item.path, Fault(stall_after=MIB))
    fetching = asyncio.create_task(process.fetch(item))
    async with asyncio.timeout(10):
        await held.reached.wait()
        while await process.record(f"filling/{item.digest}") is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
    fetching.cancel()
    await asyncio.gather(fetching, return_exceptions=True)
    here_bytes, reserved = await left(process, item)
    assert here_bytes is not None
    assert here_bytes == reserved
    assert 0 < here_bytes < item.size_bytes
    assert await process.record(f"filling/{item.digest}") is None


async def test_what_a_fault_of_this_program_ends_is_kept_with_as_much_room(
    process: Process, item: Item
) -> None:
    class Broken:
        async def admit(self, digest: Digest, count: int) -> None:  # noqa: ARG002
            raise ZeroDivisionError

        def allows_more(self, digest: Digest) -> bool:
            return bool(digest)

    with pytest.raises(StoreFault, match="the program has a fault"):
        await process.fetch(item, Broken())
    here_bytes, reserved = await left(process, item)
    assert here_bytes is not None
    assert here_bytes == reserved
    assert 0 < here_bytes < item.size_bytes


@pytest.mark.parametrize("size_bytes", [70_000, 3 * MIB], ids=["by the library", "by a thread"])
async def test_a_job_asks_for_leave_for_every_byte(
    process: Process, tree: SignedTree, size_bytes: int
) -> None:
    """However the bytes come: a limit for the background counts on it."""

    class Counting:
        admitted_bytes = 0

        async def admit(self, digest: Digest, count: int) -> None:  # noqa: ARG002
            self.admitted_bytes += count

        def allows_more(self, digest: Digest) -> bool:  # noqa: ARG002
            return False

    pace = Counting()
    await process.fetch(listed(tree.add_item("product", "20250701", "counted", size=size_bytes)), pace)
    assert pace.admitted_bytes == size_bytes


async def test_an_outage_without_a_byte_leaves_nothing(data_dir: Path, origin: Origin, item: Item) -> None:
    origin.fault(item.path, Fault(refuse=True))
    async with run_process(data_dir, origin, upstream=IMPATIENT) as process:
        with pytest.raises(ItemUnobtainable):
            await process.fetch(item)
        assert await left(process, item) == (None, None)
        assert await process.facilities.failures.unreachable(item) is not None


async def test_wrong_bytes_leave_nothing_but_what_is_known_of_their_origin(
    process: Process, origin: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(corrupt_at=MIB))
    with pytest.raises(BadItem, match="sha256 is"):
        await process.fetch(item)
    assert await left(process, item) == (None, None)
    assert (await process.facilities.failures.known(item)).wrong_at.keys() == set(process.route.names)
    assert origin.count(item.path) == 1


async def test_what_another_origin_has_right_is_fetched_from_there(
    data_dir: Path, origin: Origin, second: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(corrupt_at=MIB))
    async with run_process(data_dir, origin, second) as process:
        await process.fetch(item)
        assert process.store.has(item.digest)
        known = await process.facilities.failures.known(item)
        assert known.wrong_at.keys() == {process.route.names[0]}
    assert (origin.count(item.path), second.count(item.path)) == (1, 1)


async def test_parts_of_two_origins_that_do_not_fit_are_completed_from_one(
    data_dir: Path, origin: Origin, second: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(corrupt_at=10, cut_after=MIB))
    second.fault(item.path, Fault(no_etag=True), times=1)
    async with run_process(data_dir, origin, second) as process:
        await process.fetch(item)
        assert process.store.has(item.digest)
        known = await process.facilities.failures.known(item)
        assert known.wrong_at.keys() == {process.route.names[0]}
        assert not known.is_mixed
    assert second.gets(item.path)[-1].headers["Range"] == f"bytes=0-{MIB - 1}"


async def test_a_copy_of_another_length_costs_nothing_of_what_others_sent(
    data_dir: Path, origin: Origin, second: Origin, item: Item
) -> None:
    """What has come of the good origin stays, and is gone on with."""
    origin.fault(item.path, Fault(cut_after=MIB), times=1)
    dead = origin.fault(item.path, Fault(status=404))
    second.fault(item.path, Fault(truncate_to=MIB))
    async with run_process(data_dir, origin, second) as process:
        with pytest.raises(BadItem, match="its copy has"):
            await process.fetch(item)
        known = await process.facilities.failures.known(item)
        assert known.wrong_at.keys() == {process.route.names[1]}
        assert known.absent_at == {process.route.names[0]}
        here_bytes, reserved = await left(process, item)
        assert here_bytes == reserved
        assert here_bytes
    dead.remove()


async def test_absence_is_recorded_for_every_path_that_was_asked(
    process: Process, origin: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(status=404))
    origin.fault("other/name", Fault(status=404))
    gate = origin.gate(item.path)
    opening = process.flights.join(item, Source(process.route, item.path))[0]
    opening.add_source(Source(process.route, "other/name"))
    opening.add_source(Source(process.route, "other/name"))
    assert [source.path for source in opening.sources] == [item.path, "other/name"]
    gate.open()
    assert await left(process, item) == (None, None)
    assert isinstance(opening.progress.error, ItemAbsent)
    for path in (item.path, "other/name"):
        named = Item(path=path, digest=item.digest, size_bytes=item.size_bytes)
        assert (await process.facilities.failures.known(named)).absent_at == set(process.route.names)


async def test_what_does_not_fit_goes_past_the_store_and_people_are_told(
    data_dir: Path, origin: Origin, listing: TreeItem, item: Item
) -> None:
    async with run_process(
        data_dir, origin, limits=StoreLimits(limit_bytes=MIB, min_free_bytes=0)
    ) as process:
        opened = await process.open(item)
        assert opened.outcome is Outcome.BYPASS
        await opened.body.close()
        assert await process.read(item) == listing.read()
        assert await left(process, item) == (None, None)
        assert await process.record(f"without room/{item.digest}") == [item.path, item.size_bytes]
        with pytest.raises(Exception, match="no room for 3145728 bytes, even after eviction"):
            await process.fetch(item)
    assert not origin.gets(item.path)[0].headers.get("Range")


@pytest.mark.parametrize("step", ["append", "draw", "commit"])
async def test_a_disk_that_fails_costs_clients_nothing_and_leaves_nothing(
    process: Process, listing: TreeItem, item: Item, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(LocalIncoming, step, fail)
    assert await process.read(item) == listing.read()
    assert await left(process, item) == (None, None)
    assert not process.store.has(item.digest) or step != "commit"


async def test_whom_others_have_convicted_is_asked_last(
    data_dir: Path, clock: Clock, origin: Origin, second: Origin, tree: SignedTree, item: Item
) -> None:
    bad = tree.add_item("product", "1", "bad", size=100_000)
    origin.fault(bad.path, Fault(corrupt_at=5))
    async with run_process(data_dir, origin, second, clock=clock) as other:
        await other.fetch(listed(bad))
    async with run_process(data_dir, origin, second, clock=clock) as process:
        await process.fetch(item)
    assert (origin.count(item.path), second.count(item.path)) == (0, 1)


async def test_a_file_that_somebody_removes_at_once_is_fetched_past_the_store(
    process: Process, listing: TreeItem, item: Item, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(LocalStore, "follow", find_nothing)
    opened = await process.open(item)
    assert opened.outcome is Outcome.BYPASS
    await opened.body.close()
    assert await process.read(item) == listing.read()
    assert await left(process, item) == (None, None)

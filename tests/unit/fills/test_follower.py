"""Another process writes; this one reads the very file that is committed in the end, or none."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.stored import removed
from support.transfers import Process, Received, listed, run_process
from support.tree import TreeItem

from proxy.fills.bodies import Outcome
from proxy.fills.errors import BadItem, TransferDiscarded
from proxy.fills.failures import WRONG_BYTES
from proxy.fills.follower import Follower
from proxy.fills.interest import Interest
from proxy.fills.progress import Progress
from proxy.fills.silence import Silences
from proxy.fills.state import State
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent
from proxy.store.files import StoreFault
from proxy.store.protocols import Incoming

MIB = 1024 * 1024


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.fixture
async def another(process: Process, item: Item) -> AsyncIterator[Incoming]:
    """Write the item's file, as another process would: what is not closed is held by it."""
    incoming = await process.threads.disk(process.store.acquire, item.digest, item.size_bytes)
    assert incoming is not None
    yield incoming
    await process.threads.disk(incoming.close)


@pytest.fixture
def follower(process: Process, item: Item) -> Follower:
    """Return a follower without a fill, of which every step can be looked at."""
    progress = Progress(item)
    progress.enter(State.STARTING)
    progress.enter(State.FOLLOWING)
    interest = Interest(item.digest, process.facilities.demand, lambda: 0.0)
    return Follower(progress, [Source(process.route, item.path)], interest, process.facilities)


@pytest.fixture
def progress(follower: Follower) -> Progress:
    return follower._progress


async def begin_reading(process: Process, item: Item) -> tuple[asyncio.Task[bytes], Received]:
    """Begin to read, until the first bytes of the other process's file have come."""
    received = Received()
    reading = asyncio.create_task(process.read(item, into=received))
    async with asyncio.timeout(10):
        await received.is_begun.wait()
    return reading, received


async def test_a_follower_reads_what_another_process_writes(
    process: Process, data_dir: Path, origin: Origin, listing: TreeItem, item: Item
) -> None:
    held = origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_process(data_dir, origin) as leader:
        leading = asyncio.create_task(leader.read(item))
        await held.reached.wait()
        opened = await process.open(item)
        assert (opened.outcome, process.fill.progress.state) == (Outcome.JOIN, State.FOLLOWING)
        held.remove()
        received = Received()
        await opened.body.send_to(received, 0, item.size_bytes)
        await opened.body.close()
        assert bytes(received.body) == await leading == listing.read()
        await process.flights.ended()
        await leader.flights.ended()
    assert origin.count(item.path) == 1
    assert await process.record(f"reserved/{item.digest}") is None


async def test_a_follower_takes_over_where_a_dead_leader_ended(
    process: Process, origin: Origin, listing: TreeItem, item: Item, another: Incoming
) -> None:
    await process.threads.disk(another.append, listing.read()[:MIB])
    reading, _ = await begin_reading(process, item)
    fill = process.fill
    assert fill.is_led_elsewhere
    await process.threads.disk(another.close)

    assert await reading == listing.read()

    assert not fill.is_led_elsewhere
    (request,) = origin.gets(item.path)
    assert request.headers["Range"] == f"bytes={MIB}-"


async def test_what_a_dead_leader_had_proved_is_committed_by_a_follower_without_an_origin(
    process: Process, origin: Origin, listing: TreeItem, item: Item, another: Incoming
) -> None:
    await process.threads.disk(another.append, listing.read())
    await process.threads.disk(another.verify)
    assert await process.read(item) == listing.read()
    fill = process.fill
    states = [fill.progress.state]
    await process.threads.disk(another.close)
    await process.flights.ended()
    states.append(fill.progress.state)
    assert states == [State.PROVED, State.COMMITTED]
    assert process.store.has(item.digest)
    assert origin.count(item.path) == 0


async def test_a_follower_never_takes_another_file_for_the_committed_one(
    process: Process, origin: Origin, listing: TreeItem, item: Item, another: Incoming
) -> None:
    """Its clients have read wrong bytes: the blob that somebody has committed proves nothing about those.

    They never get the end of what is wrong.
    """
    wrong = bytes(reversed(listing.read()[: 2 * MIB]))
    await process.threads.disk(another.append, wrong)
    reading, received = await begin_reading(process, item)
    fill = process.fill

    await process.threads.disk(process.store.put, listing.read())

    with pytest.raises(Exception, match="two different versions"):
        await reading
    assert len(received.body) < item.size_bytes
    assert fill.progress.state is State.FAILED
    assert str(fill.progress.error) == "another process began the file anew"
    assert origin.count(item.path) == 1


async def test_a_follower_never_goes_on_with_another_file_than_its_clients_read(
    process: Process, listing: TreeItem, item: Item, another: Incoming
) -> None:
    """The file of a dead leader is away: what is written and proved now says nothing about what they got."""
    wrong = bytes(reversed(listing.read()[: 2 * MIB]))
    await process.threads.disk(another.append, wrong)
    reading, received = await begin_reading(process, item)
    fill = process.fill
    partial = process.folders.incoming / item.digest
    partial.rename(partial.with_name("elsewhere"))
    await process.threads.disk(another.close)

    with pytest.raises(Exception, match="two different versions"):
        await reading

    assert len(received.body) < item.size_bytes
    assert fill.progress.state is State.FAILED
    assert str(fill.progress.error) == "another process began the file anew"


async def test_one_of_two_clients_that_leaves_takes_nothing_from_the_other(
    process: Process, listing: TreeItem, item: Item, another: Incoming
) -> None:
    """Though a process that only follows lets go at once when nobody waits there any more."""
    await process.threads.disk(another.append, listing.read()[:MIB])
    reading, _ = await begin_reading(process, item)
    fill = process.fill
    second = await process.open(item, "192.0.2.2")
    await second.body.close()
    assert fill.progress.state is State.FOLLOWING
    assert fill.is_joinable
    await process.threads.disk(another.append, listing.read()[MIB:])
    await process.threads.disk(another.verify)
    await process.threads.disk(another.commit)
    await process.threads.disk(another.close)
    assert await reading == listing.read()


async def test_a_follower_ends_when_its_last_client_leaves(
    process: Process, listing: TreeItem, item: Item, another: Incoming
) -> None:
    await process.threads.disk(another.append, listing.read()[:MIB])
    opened = await process.open(item)
    fill = process.fill
    await opened.body.close()
    assert fill.progress.state is State.LEAVING
    await process.flights.ended()
    assert (process.folders.incoming / item.digest).exists()


async def test_a_follower_whose_bytes_were_right_is_completed_past_the_store(
    process: Process, listing: TreeItem, item: Item, another: Incoming
) -> None:
    await process.threads.disk(another.append, listing.read()[: 2 * MIB])
    reading, _ = await begin_reading(process, item)
    await process.threads.disk(process.store.put, listing.read())
    assert await reading == listing.read()


async def test_taking_over_needs_the_very_file_that_clients_read(
    process: Process, item: Item, another: Incoming, follower: Follower, progress: Progress
) -> None:
    disk = process.threads.disk
    await disk(another.append, b"a" * 100)
    progress.file = read = process.store.follow(item.digest)
    assert read is not None
    await follower.check_takeover(read, another)
    await disk(another.discard)
    await disk(another.close)
    begun_anew = await disk(process.store.acquire, item.digest, item.size_bytes)
    assert begun_anew is not None
    with pytest.raises(StoreFault, match="another process began the file anew"):
        await follower.check_takeover(read, begun_anew)
    progress.close_file()
    await disk(begun_anew.close)
    assert not list(process.folders.incoming.iterdir())


async def test_taking_over_asks_what_became_of_the_file_before(
    process: Process, item: Item, another: Incoming, follower: Follower, progress: Progress
) -> None:
    disk, failures = process.threads.disk, process.facilities.failures
    await disk(another.append, b"a" * 100)
    progress.file = read = process.store.follow(item.digest)
    assert read is not None
    await disk(another.discard)
    await disk(another.close)
    await failures.record_wrong(item, {"http://other.example/": "sha256 differs"}, WRONG_BYTES)
    begun_anew = await disk(process.store.acquire, item.digest, item.size_bytes)
    assert begun_anew is not None
    with pytest.raises(TransferDiscarded, match="another worker got wrong bytes"):
        await follower.check_takeover(read, begun_anew)
    await disk(begun_anew.close)
    begun_anew = await disk(process.store.acquire, item.digest, item.size_bytes)
    assert begun_anew is not None
    await disk(begun_anew.append, b"b" * 10)
    await failures.record_absent({item.path: process.route.names})
    with pytest.raises(ItemAbsent):
        await follower.check_takeover(read, begun_anew)
    # It was not made by this attempt, as far as anybody knows.
    assert begun_anew.length_bytes == 10
    await disk(begun_anew.close)
    progress.close_file()
    assert [path.stat().st_size for path in process.folders.incoming.iterdir()] == [10]


async def test_a_discarded_file_that_nobody_had_read_is_begun_by_this_process(
    process: Process, item: Item, another: Incoming, follower: Follower, progress: Progress
) -> None:
    progress.file = file = process.store.follow(item.digest)
    assert file is not None
    await process.threads.disk(another.discard)
    assert await follower.watch() is False
    assert (progress.file, file.fd) == (None, -1)


async def test_a_discarded_file_of_which_part_was_read_ends_the_fill(
    process: Process, item: Item, another: Incoming, follower: Follower, progress: Progress
) -> None:
    await process.threads.disk(another.append, b"a" * 100)
    progress.file = process.store.follow(item.digest)
    assert await follower.watch() is False
    assert progress.filled_bytes == 100
    await process.threads.disk(another.discard)
    with pytest.raises(StoreFault, match="another worker could not store it"):
        await follower.watch()
    await process.facilities.failures.record_wrong(item, {"http://other.example/": "no"}, WRONG_BYTES)
    with pytest.raises(TransferDiscarded, match="another worker got wrong bytes"):
        await follower.watch()
    await process.facilities.failures.record_wrong(item, {process.route.names[0]: "no"}, WRONG_BYTES)
    with pytest.raises(BadItem):
        await follower.watch()
    progress.close_file()


async def test_a_part_that_is_marked_proved_by_its_length_alone_is_not(
    process: Process, listing: TreeItem, item: Item, another: Incoming, follower: Follower, progress: Progress
) -> None:
    await process.threads.disk(another.append, listing.read())
    progress.file = process.store.follow(item.digest)
    assert await follower.watch() is False
    assert (progress.filled_bytes, progress.state) == (item.size_bytes, State.FOLLOWING)
    await process.threads.disk(another.verify)
    assert await follower.watch() is False
    assert progress.state is State.PROVED
    progress.close_file()


async def test_clients_keep_a_blob_from_removal_whose_writer_has_just_given_it_its_name(
    process: Process, listing: TreeItem, item: Item, follower: Follower, progress: Progress
) -> None:
    await process.threads.disk(process.store.put, listing.read())
    writers = os.open(process.folders.blob(item.digest), os.O_RDONLY)
    fcntl.flock(writers, fcntl.LOCK_EX)
    adopting = asyncio.create_task(follower.adopt())
    while not progress.state.is_proved:
        await progress.changed()
    await process.threads.ledger(os.getpid)  # What the follower had to do there has been done.
    os.close(writers)
    assert await adopting
    assert not await process.threads.disk(removed, process.store, item.digest)
    progress.close_file()
    assert await process.threads.disk(removed, process.store, item.digest)


async def test_a_blob_counts_although_its_writer_died_before_it_could_say_so(
    process: Process, listing: TreeItem, item: Item, follower: Follower, progress: Progress
) -> None:
    """Nobody else would look for it: what the writer had set aside is given back by who finds the blob."""
    storage, ledger = process.storage, process.threads.ledger
    assert await ledger(storage.reservations.take, item.digest, item.size_bytes) <= 0
    await process.threads.disk(process.store.put, listing.read())
    assert await follower.adopt()
    progress.close_file()
    assert await ledger(storage.blobs.sizes, [item.digest]) == {item.digest: item.size_bytes}
    assert await ledger(storage.reservations.total_bytes) == 0


async def test_a_list_with_a_wrong_size_is_told_from_a_damaged_blob(
    process: Process, listing: TreeItem, item: Item, follower: Follower
) -> None:
    await process.threads.disk(process.store.put, listing.read())
    wrong_size = item.__class__(path=item.path, digest=item.digest, size_bytes=item.size_bytes - 1)
    misled = Follower(Progress(wrong_size), follower._sources, follower._interest, process.facilities)
    with pytest.raises(BadItem, match="size"):
        await misled.adopt()
    assert process.store.has(item.digest)

    path = process.folders.blob(item.digest)
    path.chmod(0o644)
    os.truncate(path, 10)
    assert await follower.adopt() is False
    assert not process.store.has(item.digest)


async def test_a_follower_keeps_telling_that_its_clients_wait(
    process: Process, clock: Clock, item: Item, another: Incoming
) -> None:
    del clock
    await process.threads.disk(another.append, b"a" * 200_000)
    reading, _ = await begin_reading(process, item)
    loop = asyncio.get_running_loop()
    noted_at = process.fill._interest._noted_at
    async with asyncio.timeout(10):
        while process.fill._interest._noted_at == noted_at:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
    assert process.fill._interest._noted_at <= loop.time()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    await process.flights.ended()


async def test_a_blob_that_was_committed_before_anybody_could_follow_is_read_on_from(
    process: Process, listing: TreeItem, item: Item, follower: Follower, progress: Progress
) -> None:
    assert await follower.watch() is False
    assert await process.storage.room.reserve(item.digest, item.size_bytes)
    await process.threads.disk(process.store.put, listing.read())
    assert await follower.watch() is True
    assert await process.record(f"reserved/{item.digest}") is None
    assert (progress.state, progress.filled_bytes) == (State.PROVED, item.size_bytes)
    fd = progress.open_file()
    assert os.pread(fd, 10, 0) == listing.read()[:10]
    os.close(fd)
    # Nobody removes it while it is read here.
    assert not await process.threads.disk(removed, process.store, item.digest)
    progress.close_file()
    assert await process.threads.disk(removed, process.store, item.digest)


async def test_clients_of_a_stopped_leader_get_the_item_past_the_store(
    data_dir: Path, origin: Origin, listing: TreeItem, item: Item, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether or not they had bytes of its file; and those that come later need not wait."""
    async with run_process(data_dir, origin, silences=Silences(after_s=0.5)) as process:
        another = await process.threads.disk(process.store.acquire, item.digest, item.size_bytes)
        assert another is not None
        waiting = asyncio.create_task(process.read(item))
        async with asyncio.timeout(60):
            assert await waiting == listing.read()
        await process.threads.disk(another.append, listing.read()[:200_000])
        reading, received = await begin_reading(process, item)
        assert listing.read().startswith(received.body)
        async with asyncio.timeout(60):
            assert await reading == listing.read()
            assert await process.read(item) == listing.read()
        await process.threads.disk(another.append, listing.read()[200_000:])
        await process.threads.disk(another.verify)
        await process.threads.disk(another.commit)
        await process.threads.disk(another.close)
        asked = origin.count(item.path)
        assert await process.read(item) == listing.read()
        assert origin.count(item.path) == asked
    assert "gives no sign of life: clients get the item past the store" in caplog.text
    assert "kill -CONT" in caplog.text


async def test_what_another_list_gives_another_size_proves_nothing_here(
    process: Process, listing: TreeItem, item: Item, another: Incoming, follower: Follower
) -> None:
    await process.threads.disk(another.append, listing.read())
    await process.threads.disk(another.verify)
    longer = Progress(Item(path=item.path, digest=item.digest, size_bytes=item.size_bytes + 1))
    longer.enter(State.STARTING)
    longer.enter(State.FOLLOWING)
    misled = Follower(longer, follower._sources, follower._interest, process.facilities)
    assert await misled.watch() is False
    assert longer.state is State.FOLLOWING
    longer.close_file()


async def test_an_item_without_bytes_is_not_answered_before_it_is_proved(
    process: Process, listing: TreeItem, item: Item, another: Incoming
) -> None:
    """One list says that it is empty, another has its size: an empty reply would be complete at once."""
    await process.threads.disk(another.append, listing.read())
    opening = asyncio.create_task(process.open(Item(path=item.path, digest=item.digest, size_bytes=0)))
    async with asyncio.timeout(10):
        while not (process.flights._running and process.fill.progress.filled_bytes):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    await process.threads.disk(another.verify)
    await process.threads.disk(another.commit)
    with pytest.raises(BadItem, match="size"):
        await opening

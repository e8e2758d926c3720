"""What clients get of a running fill, of the store, and past it: never the end before the proof."""

import asyncio
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.stored import removed
from support.transfers import Process, Received, listed, run_process
from support.tree import TreeItem

from proxy.digest import DigestMismatch
from proxy.fills.bodies import MemoryBody, Outcome, SentDiffers, SentPart, StoredBody
from proxy.fills.bypass_body import BypassBody
from proxy.fills.errors import BadItem
from proxy.fills.feed import HOLD_BACK_BYTES, FeedOptions
from proxy.fills.filling_body import FillingBody
from proxy.fills.records import SENT_PARTS
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent, WrongLength

MIB = 1024 * 1024


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.fixture
def bypass(process: Process, item: Item) -> BypassBody:
    return BypassBody(item, [Source(process.route, item.path)], process.facilities)


@pytest.fixture
def file(listing: TreeItem) -> Iterator[int]:
    fd = os.open(listing.data_path, os.O_RDONLY)
    yield fd
    os.close(fd)


async def test_a_part_is_sent_as_it_comes_and_its_end_after_the_proof(
    process: Process, origin: Origin, listing: TreeItem, item: Item
) -> None:
    """A range ends in the middle of the item; it waits for the whole item's digest all the same."""
    held = origin.fault(item.path, Fault(stall_after=2 * MIB))
    opened = await process.open(item)
    assert opened.body.small_part(0, 10) is None
    assert opened.body.proved_file() is None
    received = Received()
    start, stop = 1000, MIB
    sending = asyncio.create_task(opened.body.send_to(received, start, stop))
    async with asyncio.timeout(10):
        while len(received.body) < stop - start - HOLD_BACK_BYTES:  # noqa: ASYNC110 - a client has no event
            await asyncio.sleep(0.01)
    assert not sending.done()
    assert len(received.body) == stop - start - HOLD_BACK_BYTES
    held.remove()
    await sending
    assert bytes(received.body) == listing.read()[start:stop]
    await opened.body.close()
    await opened.body.close()


async def test_a_client_that_waits_is_fed_from_the_reserve(
    data_dir: Path, origin: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(stall_after=2 * MIB))
    feed = FeedOptions(drip_interval_s=0.05, reserve_bytes=MIB)
    async with run_process(data_dir, origin, feed=feed) as process:
        opened = await process.open(item)
        assert isinstance(opened.body, FillingBody)
        while process.fill.progress.filled_bytes < MIB:
            await process.fill.progress.changed()
        position, ends = 0, []
        for _ in range(6):
            position = await opened.body.available(position, 0, item.size_bytes)
            ends.append(position)
        assert ends == sorted(set(ends))
        assert ends[-1] < process.fill.progress.filled_bytes
        await opened.body.close()


async def test_a_client_that_got_nothing_wrong_is_completed_by_another_origin(
    data_dir: Path, origin: Origin, listing: TreeItem, item: Item
) -> None:
    async with Origin(origin.root) as second:
        bad = origin.fault(item.path, Fault(corrupt_at=item.size_bytes - 10, stall_after=item.size_bytes - 5))
        async with run_process(data_dir, origin, second) as process:
            opened = await process.open(item)
            received = Received()
            sending = asyncio.create_task(opened.body.send_to(received, 0, item.size_bytes))
            await received.is_begun.wait()
            bad.remove()
            await sending
            assert bytes(received.body) == listing.read()
            await opened.body.close()


async def test_a_client_that_got_something_wrong_is_cut_off(
    data_dir: Path, origin: Origin, item: Item
) -> None:
    async with Origin(origin.root) as second:
        bad = origin.fault(item.path, Fault(corrupt_at=10, stall_after=item.size_bytes - 5))
        async with run_process(data_dir, origin, second) as process:
            opened = await process.open(item)
            received = Received()
            sending = asyncio.create_task(opened.body.send_to(received, 0, item.size_bytes))
            await received.is_begun.wait()
            bad.remove()
            with pytest.raises(SentDiffers, match="two different versions of bytes 0 to"):
                await sending
            assert len(received.body) <= item.size_bytes - HOLD_BACK_BYTES
            await opened.body.close()


async def test_what_differs_from_what_a_client_got_may_be_wrong_itself(
    data_dir: Path, origin: Origin, listing: TreeItem, item: Item, file: int
) -> None:
    """Which of the two is right shows at the end: the client that got nothing wrong is completed."""
    async with Origin(origin.root) as second, run_process(data_dir, origin, second) as process:
        origin.fault(item.path, Fault(corrupt_at=1000))
        opened = await process.open(item)
        received = Received()
        await opened.body.send_to(received, MIB, item.size_bytes, SentPart(file, 0, MIB))
        await opened.body.close()
        assert bytes(received.body) == listing.read()[MIB:]
        assert (origin.count(item.path), second.count(item.path)) == (1, 1)


async def test_who_joins_a_fill_that_others_could_not_have_asks_its_own_origins(
    data_dir: Path, process: Process, origin: Origin, listing: TreeItem, item: Item
) -> None:
    """One mirror's origin does not have it; another mirror lists the same content, and its origin has."""
    async with Origin(listing.data_path.parent) as other, run_process(data_dir / "x", other) as elsewhere:
        named = Item(path=listing.data_path.name, digest=item.digest, size_bytes=item.size_bytes)
        gate = origin.gate(item.path)
        origin.fault(item.path, Fault(status=404))
        first = asyncio.create_task(process.open(item))
        await gate.waiting(1)
        second = asyncio.create_task(process.open(named, "192.0.2.2", elsewhere.route))
        while len(process.fill.sources) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        gate.open()
        for opening in (first, second):
            opened = await opening
            received = Received()
            await opened.body.send_to(received, 0, item.size_bytes)
            assert bytes(received.body) == listing.read()
            await opened.body.close()


async def test_an_answer_about_other_origins_is_no_answer_for_who_joined(
    data_dir: Path,
    process: Process,
    origin: Origin,
    listing: TreeItem,
    item: Item,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It joined when all others had been asked already."""
    failures, is_asked, may_end = process.facilities.failures, asyncio.Event(), asyncio.Event()
    record_absent = failures.record_absent

    async def record_slowly(absences: Mapping[str, Collection[str]]) -> None:
        is_asked.set()
        await may_end.wait()
        await record_absent(absences)

    monkeypatch.setattr(failures, "record_absent", record_slowly)
    async with Origin(listing.data_path.parent) as other, run_process(data_dir / "x", other) as elsewhere:
        named = Item(path=listing.data_path.name, digest=item.digest, size_bytes=item.size_bytes)
        origin.fault(item.path, Fault(status=404))
        first = asyncio.create_task(process.open(item))
        await is_asked.wait()
        second = asyncio.create_task(process.open(named, "192.0.2.2", elsewhere.route))
        while len(process.fill.sources) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        may_end.set()
        with pytest.raises(ItemAbsent):
            await first
        opened, received = await second, Received()
        await opened.body.send_to(received, 0, item.size_bytes)
        assert bytes(received.body) == listing.read()
        await opened.body.close()


async def test_who_asks_first_learns_that_no_origin_has_it_without_another_try(
    process: Process, origin: Origin, item: Item
) -> None:
    origin.fault(item.path, Fault(status=404))
    with pytest.raises(ItemAbsent):
        await process.open(item)
    assert origin.count(item.path) == 1


async def test_a_beginning_of_which_nobody_knows_the_origin_is_fetched_anew_unseen_by_clients(
    process: Process, origin: Origin, listing: TreeItem, item: Item
) -> None:
    begun = await process.threads.disk(process.store.acquire, item.digest, item.size_bytes)
    assert begun is not None
    await process.threads.disk(begun.append, b"wrong" * 1000)
    await process.threads.disk(begun.close)
    name = f"{item.digest}/{item.size_bytes}"
    await process.threads.ledger(SENT_PARTS.write, process.storage.ledger, (), name)

    assert await process.read(item) == listing.read()

    (request,) = origin.gets(item.path)
    assert "Range" not in request.headers


# Past the store


async def test_past_the_store_the_end_waits_for_the_proof_too(
    origin: Origin, listing: TreeItem, item: Item, bypass: BypassBody
) -> None:
    held = origin.fault(item.path, Fault(stall_after=item.size_bytes - 5))
    received = Received()
    await bypass.begin()
    sending = asyncio.create_task(bypass.send_to(received, 5, item.size_bytes))
    async with asyncio.timeout(10):
        while len(received.body) < item.size_bytes - 4 * HOLD_BACK_BYTES:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    assert len(received.body) <= item.size_bytes - 5 - HOLD_BACK_BYTES
    held.remove()
    await sending
    assert bytes(received.body) == listing.read()[5:]
    assert bypass.small_part(0, 5) is None
    await bypass.close()


async def test_wrong_bytes_past_the_store_convict_their_origin(
    process: Process, origin: Origin, item: Item, bypass: BypassBody
) -> None:
    origin.fault(item.path, Fault(corrupt_at=100))
    received = Received()
    with pytest.raises(DigestMismatch):
        await bypass.send_to(received, 0, item.size_bytes)
    assert len(received.body) <= item.size_bytes - HOLD_BACK_BYTES
    known = await process.facilities.failures.known(item)
    assert known.wrong_at.keys() == set(process.route.names)
    with pytest.raises(BadItem):
        await process.open(item)


async def test_a_copy_of_another_length_past_the_store_is_recorded(
    process: Process, origin: Origin, item: Item, bypass: BypassBody
) -> None:
    origin.fault(item.path, Fault(truncate_to=MIB))
    with pytest.raises(WrongLength):
        await bypass.begin()
    await bypass.close()
    known = await process.facilities.failures.known(item)
    assert "its copy has" in known.wrong_at[process.route.names[0]]


async def test_what_was_sent_before_must_agree_with_what_comes_past_the_store(
    listing: TreeItem, item: Item, bypass: BypassBody, tmp_path: Path
) -> None:
    wrong = bytearray(listing.read())
    wrong[500] ^= 1
    (tmp_path / "wrong").write_bytes(wrong)
    fd = os.open(tmp_path / "wrong", os.O_RDONLY)
    try:
        with pytest.raises(SentDiffers):
            await bypass.send_to(Received(), 1000, item.size_bytes, SentPart(fd, 0, 1000))
    finally:
        os.close(fd)


async def test_what_agrees_is_gone_on_with_past_the_store(
    listing: TreeItem, item: Item, bypass: BypassBody, file: int
) -> None:
    received = Received()
    await bypass.send_to(received, 1000, item.size_bytes, SentPart(file, 0, 1000))
    assert bytes(received.body) == listing.read()[1000:]


# From the store


async def test_the_store_gives_small_parts_and_the_whole_file(
    process: Process, listing: TreeItem, item: Item, file: int
) -> None:
    await process.fetch(item)
    blob = process.store.open(item.digest, item.size_bytes)
    assert blob is not None
    body = StoredBody(blob, process.threads)
    data = listing.read()
    assert body.small_part(10, 20) in {data[10:20], None}
    assert body.small_part(0, 2 * MIB) is None
    kept = body.proved_file()
    assert kept is not None
    assert os.pread(kept, 10, 0) == data[:10]
    os.close(kept)
    received = Received()
    await body.send_to(received, 1000, item.size_bytes, SentPart(file, 0, 1000))
    assert bytes(received.body) == data[1000:]
    with pytest.raises(SentDiffers):
        await body.send_to(Received(), 1000, 2000, SentPart(file, 0, item.size_bytes + 1))
    await body.close()


async def test_a_blob_that_cannot_be_read_at_once_has_no_small_part(
    process: Process, item: Item, tmp_path: Path
) -> None:
    """It is sent from its file then, where a fault of the disk is dealt with."""
    await process.fetch(item)
    blob = process.store.open(item.digest, item.size_bytes)
    assert blob is not None
    unreadable = os.open(tmp_path / "unreadable", os.O_WRONLY | os.O_CREAT)
    os.dup2(unreadable, blob.fd)
    os.close(unreadable)
    body = StoredBody(blob, process.threads)
    assert body.small_part(0, 10) is None
    await body.close()


async def test_a_document_in_memory_is_sent_from_there() -> None:
    received, body = Received(), MemoryBody(b"document")
    await body.send_to(received, 2, 6)
    assert received.body == b"cume"
    assert body.small_part(0, 2) is None
    await body.close()


def test_a_part_agrees_with_what_it_overlaps(listing: TreeItem, file: int) -> None:
    data, part = listing.read(), SentPart(file, 100, 200)
    assert part.agrees(0, b"x" * 100)
    assert part.agrees(200, b"x")
    assert part.agrees(50, data[50:300])
    assert part.agrees(150, data[150:160])
    assert not part.agrees(199, bytes([data[199] ^ 1]))
    assert not part.agrees(90, data[90:100] + bytes([data[100] ^ 1]))
    assert part.agrees_with_file(file, 100, 200)
    assert not SentPart(file, 0, 10**9).agrees_with_file(file, 0, 10**9)


def test_outcomes_are_words_of_the_log() -> None:
    assert [one.value for one in Outcome] == ["hit", "stale", "miss", "join", "bypass"]


@pytest.mark.parametrize("is_led_here", [True, False])
async def test_what_a_client_still_reads_is_not_removed_after_its_commit(
    data_dir: Path, process: Process, origin: Origin, item: Item, *, is_led_here: bool
) -> None:
    held = origin.fault(item.path, Fault(stall_after=MIB))
    async with run_process(data_dir, origin) as another:
        led, followed = await process.open(item), await another.open(item)
        assert isinstance(followed.body, FillingBody)
        held.remove()
        await process.flights.ended()
        await another.flights.ended()
        first, last = (followed, led) if is_led_here else (led, followed)
        await first.body.close()
        assert not await process.threads.disk(removed, process.store, item.digest)
        await last.body.close()
        assert await process.threads.disk(removed, process.store, item.digest)


async def test_a_client_that_leaves_keeps_nothing_open(process: Process, origin: Origin, item: Item) -> None:
    held = origin.fault(item.path, Fault(stall_after=MIB))
    first = await process.open(item)
    await held.reached.wait()
    while process.fill.progress.filled_bytes < MIB:
        await process.fill.progress.changed()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - that many entries, whatever they are
    second = await process.open(item, "192.0.2.2")
    await second.body.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    held.remove()
    await first.body.close()
    await process.flights.ended()

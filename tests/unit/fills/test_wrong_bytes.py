"""Which of several origins sent wrong bytes: found by hash, never guessed."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from support.origin import Origin
from support.running import Clock
from support.transfers import Process, listed, run_process
from support.tree import SignedTree, TreeItem

from proxy.fills.records import last_wrong_copies
from proxy.fills.wrong_bytes import Culprit
from proxy.simplestreams.model import Item
from proxy.sources.errors import WrongLength
from proxy.sources.pull import Part
from proxy.sources.route import DISTRUST_S
from proxy.store.ledger import LedgerUnavailable

A, B, C = "http://a.example/", "http://b.example/", "http://c.example/"
PLACE = "http://mirror.example/item"


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


@pytest.fixture
def good(listing: TreeItem) -> Iterator[int]:
    """Return a descriptor of the right bytes."""
    fd = os.open(listing.data_path, os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def bad(tmp_path: Path, listing: TreeItem) -> Iterator[int]:
    """Return a descriptor of bytes of which the second MiB is wrong."""
    data = bytearray(listing.read())
    data[1_500_000] ^= 1
    (tmp_path / "bad").write_bytes(data)
    fd = os.open(tmp_path / "bad", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
async def second(tree: SignedTree) -> AsyncIterator[Origin]:
    async with Origin(tree.root) as origin:
        yield origin


def parts(size: int, place: str = "") -> list[Part]:
    """Return three parts of three origins; the second one, of B, has the wrong byte."""
    return [Part(A, 0, 1_000_000), Part(B, 1_000_000, 2_000_000, place), Part(C, 2_000_000, size)]


async def wrong_copies(process: Process) -> dict[str, str]:
    found = await process.threads.ledger(last_wrong_copies, process.storage.ledger)
    return {origin: copy.problem for origin, copy in found.items()}


async def test_whoever_sent_it_all_is_convicted_at_once(
    process: Process, item: Item, bad: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole = [Part(process.route.names[0], 0, item.size_bytes)]
    await process.facilities.wrong_bytes.judge(item, whole, "sha256 differs", bad, [process.route])
    known = await process.facilities.failures.known(item)
    assert known.wrong_at == {process.route.names[0]: "sha256 differs"}
    assert not known.is_mixed
    assert 0 < known.distrusted_s[process.route.names[0]] <= DISTRUST_S
    (line,) = [one.getMessage() for one in caplog.records]
    assert line.startswith(f"origin.wrong_bytes origin={process.route.names[0]} path={item.path} ")


async def test_of_several_only_the_one_whose_part_differs_is_convicted_in_the_end(
    process: Process, item: Item, good: int, bad: int, caplog: pytest.LogCaptureFixture
) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    await wrong_bytes.judge(item, parts(item.size_bytes), "sha256 differs", bad, [])
    known = await failures.known(item)
    assert (known.wrong_at, known.is_mixed, known.is_suspect) == ({}, True, True)
    assert "blob.mixed" in caplog.text
    assert "origin.wrong_bytes" not in caplog.text

    await wrong_bytes.settle(item, good, {A}, [], known)

    known = await failures.known(item)
    assert (set(known.wrong_at), known.is_mixed) == ({B}, False)
    assert set(await wrong_copies(process)) == {B}


async def test_wrong_bytes_right_behind_its_part_convict_nobody(
    process: Process, item: Item, good: int, bad: int
) -> None:
    """The wrong byte is at 1 500 000; a part is hashed in several steps, of which none may go too far."""
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    sent = [Part(A, 0, 100_000), Part(B, 100_000, 1_500_000), Part(C, 1_500_000, item.size_bytes)]
    await wrong_bytes.judge(item, sent, "sha256 differs", bad, [])
    await wrong_bytes.settle(item, good, set(), [], await failures.known(item))
    assert set((await failures.known(item)).wrong_at) == {C}


async def test_a_beginning_that_is_not_the_whole_convicts_nobody_alone(
    process: Process, item: Item, bad: int
) -> None:
    """What was here before the restart may have been another's."""
    rest = [Part(A, 1_000_000, item.size_bytes)]
    await process.facilities.wrong_bytes.judge(item, rest, "sha256 differs", bad, [])
    known = await process.facilities.failures.known(item)
    assert (known.wrong_at, known.is_mixed) == ({}, True)


async def test_evidence_of_several_tries_adds_up(process: Process, item: Item, good: int, bad: int) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    first, second, third = parts(item.size_bytes)
    await wrong_bytes.judge(item, [first, second], "sha256 differs", bad, [])
    await wrong_bytes.judge(item, [Part(C, 1_000_000, 2_000_000), third], "sha256 differs", bad, [])
    await wrong_bytes.settle(item, good, set(), [], await failures.known(item))
    assert set((await failures.known(item)).wrong_at) == {B, C}


async def test_nobody_is_convicted_twice_for_the_same(
    process: Process, item: Item, good: int, bad: int, caplog: pytest.LogCaptureFixture
) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    await wrong_bytes.convict(item, [Culprit(B)], "sha256 differs", [])
    await wrong_bytes.judge(item, parts(item.size_bytes), "sha256 differs", bad, [])
    caplog.clear()
    await wrong_bytes.settle(item, good, set(), [], await failures.known(item))
    assert "origin.wrong_bytes" not in caplog.text


async def test_a_redirector_is_not_blocked_for_where_it_led(
    process: Process, item: Item, good: int, bad: int
) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    await wrong_bytes.judge(item, parts(item.size_bytes, PLACE), "sha256 differs", bad, [])
    await wrong_bytes.settle(item, good, set(), [], await failures.known(item))
    known = await failures.known(item)
    assert set(known.wrong_at) == {PLACE}
    assert known.distrusted_s == {}
    assert f"having redirected to {PLACE}" in (await wrong_copies(process))[B]


async def test_who_delivers_is_cleared_and_keeps_its_distrust(
    process: Process, clock: Clock, item: Item, good: int
) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    name = process.route.names[0]
    await wrong_bytes.convict(item, [Culprit(name)], "sha256 differs", [process.route])
    clock.advance(20)
    before = await failures.known(item)
    assert (before.wrong_at, before.is_suspect) == ({}, True)
    await wrong_bytes.settle(item, good, {name}, [process.route], before)
    after = await failures.known(item)
    assert not after.is_suspect
    assert after.distrusted_s[name] == pytest.approx(DISTRUST_S - 20)


async def test_a_copy_of_another_length_is_blocked_for_seconds_and_never_shortens_distrust(
    process: Process, clock: Clock, item: Item
) -> None:
    wrong_bytes, failures = process.facilities.wrong_bytes, process.facilities.failures
    await wrong_bytes.convict(item, [Culprit(A)], "sha256 differs", [])
    await wrong_bytes.record_lengths(item, [WrongLength(name, item.size_bytes, 5) for name in (A, B)])
    await wrong_bytes.record_lengths(item, [])
    known = await failures.known(item)
    assert set(known.wrong_at) == {A, B}
    assert set(known.distrusted_s) == {A}
    assert "its copy has 5 bytes" in (await wrong_copies(process))[A]
    clock.advance(6)
    assert B not in (await failures.known(item)).wrong_at


async def test_an_origin_that_sent_wrong_bytes_is_asked_last(
    process: Process, item: Item, origin: Origin, second: Origin, data_dir: Path
) -> None:
    async with run_process(data_dir, origin, second) as both:
        first, other = both.route.order()
        assert first.name == process.route.names[0]
        await both.facilities.wrong_bytes.convict(item, [Culprit(first.name)], "sha256 differs", [both.route])
        assert both.route.order() == [other, first]


async def test_that_nothing_can_be_recorded_takes_nothing_from_what_is_proved(
    process: Process, item: Item, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise LedgerUnavailable("disk I/O error")

    known = await process.facilities.failures.known(item)
    monkeypatch.setattr(process.storage.ledger, "records_at", fail)
    monkeypatch.setattr(process.storage.ledger, "transaction", fail)
    await process.facilities.wrong_bytes.settle(item, good, {A}, [process.route], known)

"""What failed is not asked for again at once, and not for ever either."""

import pytest
from support.running import Clock
from support.transfers import Process, listed
from support.tree import TreeItem

from proxy.fills.errors import BadItem
from proxy.fills.failures import WRONG_BYTES, WRONG_LENGTH, Block, KnownFailures
from proxy.simplestreams.model import Item
from proxy.sources.errors import ItemAbsent

A, B = "http://a.example/", "http://b.example/"


@pytest.fixture
def item(listing: TreeItem) -> Item:
    return listed(listing)


def test_a_block_doubles_up_to_its_limit() -> None:
    block = Block(15.0, 300.0)
    lengths_s = [block.length_s(times) for times in (1, 2, 3, 4, 5, 6, 7, 1000)]
    assert lengths_s == [15, 30, 60, 120, 240, 300, 300, 300]


@pytest.mark.parametrize("block", [WRONG_BYTES, WRONG_LENGTH])
async def test_an_origin_is_blocked_longer_each_time_and_not_by_a_clock_that_was_ahead(
    process: Process, clock: Clock, item: Item, block: Block
) -> None:
    failures = process.facilities.failures
    for times in (1, 2, 3):
        await failures.record_wrong(item, {A: "sha256 differs"}, block)
        assert (await failures.known(item)).wrong_at == {A: "sha256 differs"}
        clock.advance(block.length_s(times) - 0.5)
        assert (await failures.known(item)).wrong_at
        clock.advance(1)
        known = await failures.known(item)
        assert (known.wrong_at, known.is_suspect) == ({}, True)
    await failures.record_wrong(item, {A: "sha256 differs"}, block)
    clock.advance(-86400)
    assert (await failures.known(item)).wrong_at == {}


async def test_who_has_delivered_is_asked_again(process: Process, item: Item) -> None:
    failures = process.facilities.failures
    await failures.record_wrong(item, {A: "a", B: "b"}, WRONG_BYTES)
    await process.threads.ledger(failures.unblock, item, {A})
    assert (await failures.known(item)).wrong_at == {B: "b"}
    await process.threads.ledger(failures.unblock, item, {B})
    assert await failures.known(item) == KnownFailures()


async def test_an_item_of_another_size_is_another_item(process: Process, item: Item) -> None:
    failures = process.facilities.failures
    await failures.record_wrong(item, {A: "a"}, WRONG_BYTES)
    other = Item(path=item.path, digest=item.digest, size_bytes=item.size_bytes + 1)
    assert await failures.known(other) == KnownFailures()


async def test_absence_is_of_a_path_and_lasts_a_minute(process: Process, clock: Clock, item: Item) -> None:
    failures = process.facilities.failures
    visits = process.threads.ledger_visits
    await failures.record_absent({item.path: {A}, "other/path": {B}, "nothing": ()})
    assert process.threads.ledger_visits == visits + 1
    await failures.record_absent({item.path: {B}})
    known = await failures.known(item)
    assert known == KnownFailures(absent_at=frozenset({A, B}))
    other = Item(path="other/path", digest=item.digest, size_bytes=item.size_bytes)
    assert (await failures.known(other)).absent_at == {B}
    clock.advance(61)
    assert not (await failures.known(item)).absent_at
    await failures.record_absent({"nothing": set()})
    assert process.threads.ledger_visits == visits + 6 - 1


async def test_nobody_is_told_of_trouble_that_is_over(process: Process, clock: Clock, item: Item) -> None:
    failures = process.facilities.failures
    assert await failures.unreachable(item) is None
    await failures.record_unreachable(item, "connection refused")
    assert await failures.unreachable(item) == "connection refused"
    clock.advance(16)
    assert await failures.unreachable(item) is None


def test_an_item_is_bad_or_absent_when_no_origin_is_left(listing: TreeItem) -> None:
    item = listed(listing)
    KnownFailures().check(item, [A])
    KnownFailures(absent_at=frozenset({A})).check(item, [A, B])
    KnownFailures(wrong_at={A: "a"}).check(item, [A, B])
    with pytest.raises(ItemAbsent):
        KnownFailures(absent_at=frozenset({A, B})).check(item, [A, B])
    with pytest.raises(BadItem, match=rf"{A}: a; {B}: b"):
        KnownFailures(wrong_at={B: "b", A: "a"}).check(item, [A, B])
    with pytest.raises(BadItem, match=f"{A}: a$"):
        KnownFailures(wrong_at={A: "a", "elsewhere": "x"}, absent_at=frozenset({B})).check(item, [A, B])

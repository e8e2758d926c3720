"""Any mirror will do, for the signed hash decides: who sends wrong bytes is found, avoided and named."""

import asyncio

import pytest
from support.exchange import Exchange, read
from support.faults import Fault
from support.running import Clock, run_proxy
from support.several_origins import (
    KIB,
    LATE,
    PRODUCT,
    SIZE,
    Several,
    Start,
    add_items,
    is_right,
)
from support.tree import SignedTree, TreeItem

from proxy.store.limits import StoreLimits

EARLY = 5
"""A byte that clients have got long before the proof."""
INDEX = "streams/v1/index.sjson"


# One origin sends wrong bytes


async def test_who_got_nothing_wrong_yet_gets_the_rest_from_another_origin(
    several: Start, item: TreeItem
) -> None:
    """All clients of the transfer, wherever they stand in it; one more fetch is enough for them."""
    async with several(2) as here:
        culprit, _ = here.origins
        fault = culprit.fault(item.path, Fault(corrupt_at=LATE, stall_after=LATE))
        first = asyncio.create_task(here.ask(item))
        await fault.reached.wait()
        others = [asyncio.create_task(here.ask(item)) for _ in range(4)]
        part = asyncio.create_task(read(here.proxy.url(item.path), Range=f"bytes=1000-{SIZE - 1}"))
        fault.remove()

        assert all([is_right(await one, item) for one in (first, *others)])
        assert (await part).body == item.read()[1000:]
        assert await here.kept(item)
        assert here.counts(item) == [1, 1]


async def test_who_got_a_wrong_byte_is_cut_and_everybody_after_is_served_right(
    several: Start, item: TreeItem
) -> None:
    async with several(2) as here:
        here.origins[0].fault(item.path, Fault(corrupt_at=EARLY))

        reply = await here.ask(item)

        assert not reply.is_complete
        assert len(reply.body) <= SIZE - 64 * KIB
        assert is_right(await here.ask(item), item)
        assert here.counts(item) == [1, 1]


async def test_a_part_that_the_wrong_byte_is_not_in_is_completed(several: Start, item: TreeItem) -> None:
    async with several(2) as here:
        here.origins[0].fault(item.path, Fault(corrupt_at=EARLY))

        reply = await read(here.proxy.url(item.path), Range=f"bytes={100 * KIB}-{900 * KIB}")

        assert (reply.status, reply.is_complete) == (206, True)
        assert reply.body == item.read()[100 * KIB : 900 * KIB + 1]


async def test_a_small_item_is_right_whoever_lies(several: Start, tree: SignedTree) -> None:
    """Nothing of it leaves before the proof."""
    item = tree.add_item(PRODUCT, "20250718", "small", size=60 * KIB)
    tree.publish()
    async with several(4) as here:
        for culprit in here.origins[:3]:
            culprit.fault(item.path, Fault(corrupt_at=0))

        assert is_right(await here.ask(item), item)
        assert here.counts(item) == [1, 1, 1, 1]
        assert await here.wrong_copies() == [1, 1, 1, 0]


async def test_a_liar_is_asked_last_for_a_quarter_of_an_hour(several: Start, tree: SignedTree) -> None:
    """Also for what it might have right; last and not never, for the hash decides again."""
    items = add_items(tree, 3)
    async with several(2) as here:
        culprit, honest = here.origins
        culprit.fault(items[0].path, Fault(corrupt_at=LATE))
        assert is_right(await here.ask(items[0]), items[0])

        assert is_right(await here.ask(items[1]), items[1])
        assert here.counts(items[1]) == [0, 1]

        honest.fault(items[2].path, Fault(status=503))
        assert is_right(await here.ask(items[2]), items[2])
        assert culprit.count(items[2].path) == 1


async def test_all_processes_beware_of_a_liar_that_one_has_found(
    several: Start, tree: SignedTree, clock: Clock
) -> None:
    items = add_items(tree, 2)
    async with several(2) as here, run_proxy(here.proxy.config, clock) as other:
        await other.read(INDEX)
        here.origins[0].fault(items[0].path, Fault(corrupt_at=LATE))
        assert is_right(await here.ask(items[0]), items[0])

        assert (await other.read(items[1].path)).body == items[1].read()

        assert here.counts(items[1]) == [0, 1]


async def test_clients_of_another_process_get_the_rest_from_another_origin_too(
    several: Start, item: TreeItem, clock: Clock
) -> None:
    async with several(2) as here, run_proxy(here.proxy.config, clock) as other:
        await other.read(INDEX)
        fault = here.origins[0].fault(item.path, Fault(corrupt_at=LATE, stall_after=LATE))
        mine = asyncio.create_task(here.ask(item))
        await fault.reached.wait()
        async with Exchange(other.url(item.path)) as exchange:
            assert await exchange.begin() == 200
            await exchange.received(1)
            fault.remove()

            assert is_right(await exchange.rest(), item)
        assert is_right(await mine, item)
        await other.fills_ended()
        assert here.counts(item) == [1, 1]


async def test_a_liar_is_dropped_also_when_the_store_has_no_room(several: Start, item: TreeItem) -> None:
    """Then nothing can be compared, and the reply is cut; the next one is right."""
    async with several(2, cache=StoreLimits(limit_bytes=SIZE // 2, min_free_bytes=0)) as here:
        here.origins[0].fault(item.path, Fault(corrupt_at=LATE))

        assert not (await here.ask(item)).is_complete
        assert is_right(await here.ask(item), item)
        assert await here.wrong_copies() == [1, 0]


# Several do


async def test_the_one_honest_origin_of_many_is_found(several: Start, item: TreeItem) -> None:
    async with several(5) as here:
        for number, culprit in enumerate(here.origins[:4]):
            culprit.fault(item.path, Fault(corrupt_at=LATE + number))

        assert is_right(await here.ask(item), item)

        assert here.counts(item) == [1, 1, 1, 1, 1]
        assert await here.wrong_copies() == [1, 1, 1, 1, 0]


async def test_where_all_lie_clients_are_cut_and_nobody_is_asked_again_at_once(
    several: Start, item: TreeItem, clock: Clock
) -> None:
    async with several(3) as here:
        for culprit in here.origins:
            culprit.fault(item.path, Fault(corrupt_at=LATE))

        replies = [await here.ask(item) for _ in range(3)]

        assert not any(reply.is_complete for reply in replies)
        assert here.counts(item) == [1, 1, 1]
        assert not await here.kept(item)

        here.origins[1].heal()
        clock.advance(16)
        assert is_right(await here.ask(item), item)


async def test_what_one_origin_has_wrong_and_the_other_has_not_is_no_404(
    several: Start, item: TreeItem
) -> None:
    async with several(2) as here:
        here.origins[0].fault(item.path, Fault(corrupt_at=LATE))
        here.origins[1].fault(item.path, Fault(status=404))

        replies = [await here.ask(item) for _ in range(3)]

        assert {reply.status for reply in replies} <= {0, 200}
        assert not any(reply.is_complete for reply in replies)
        assert here.counts(item)[0] == 1


# Mixed contributions


def have_each_give_half(here: Several, item: TreeItem, culprit: int) -> None:
    """Let the first of two origins break off in the middle of an item, and one of them have wrong bytes."""
    corrupt_at = EARLY if culprit == 0 else LATE
    here.origins[culprit].fault(item.path, Fault(corrupt_at=corrupt_at))
    break_off = Fault(close_after=SIZE // 2, corrupt_at=corrupt_at if culprit == 0 else None)
    here.origins[0].fault(item.path, break_off, times=1)


@pytest.mark.parametrize("culprit", [0, 1])
async def test_of_two_that_contributed_the_wrong_one_is_found(
    several: Start, item: TreeItem, culprit: int
) -> None:
    """The first sends half and breaks off, the second the rest: one of them fetches whole, and it shows."""
    async with several(2) as here:
        have_each_give_half(here, item, culprit)

        reply = await here.ask(item)

        assert reply.is_complete == (culprit == 1)
        assert is_right(await here.ask(item), item)
        assert await here.kept(item)
        assert await here.wrong_copies() == [1 - culprit, culprit]


@pytest.mark.parametrize("culprit", [0, 1])
async def test_what_the_right_one_had_sent_is_not_fetched_again(
    several: Start, item: TreeItem, culprit: int
) -> None:
    """Its other half is fetched from it, and its first one is taken from what was discarded."""
    async with several(2) as here:
        have_each_give_half(here, item, culprit)

        while not is_right(reply := await here.ask(item), item):
            assert not reply.is_complete

        assert await here.wrong_copies() == [1 - culprit, culprit]
        right = here.origins[1 - culprit]
        assert sum(request.sent_bytes for request in right.gets(item.path)) == SIZE


@pytest.mark.parametrize("culprit", [0, 1])
async def test_an_origin_that_takes_no_ranges_sends_all_again_to_complete_what_it_had_sent(
    several: Start, item: TreeItem, culprit: int
) -> None:
    async with several(2) as here:
        corrupt_at = EARLY if culprit == 0 else LATE
        for origin in here.origins:
            is_culprit = origin is here.origins[culprit]
            origin.fault(item.path, Fault(ignore_range=True, corrupt_at=corrupt_at if is_culprit else None))
        break_off = Fault(close_after=SIZE // 2, corrupt_at=corrupt_at if culprit == 0 else None)
        here.origins[0].fault(item.path, break_off, times=1)

        while not is_right(reply := await here.ask(item), item):
            assert not reply.is_complete

        assert await here.wrong_copies() == [1 - culprit, culprit]


async def test_an_origin_that_always_breaks_off_does_not_keep_the_truth_away(
    several: Start, item: TreeItem
) -> None:
    """Its half is right, the other's rest is wrong; the third has it whole."""
    async with several(3) as here:
        lame, culprit, _ = here.origins
        lame.fault(item.path, Fault(close_after=SIZE // 2), times=1)
        lame.fault(item.path, Fault(status=500))
        culprit.fault(item.path, Fault(corrupt_at=LATE))

        for _ in range(5):
            reply = await here.ask(item)
            if reply.is_complete:
                break

        assert is_right(reply, item)
        assert (await here.wrong_copies())[:2] == [0, 1]


async def test_a_beginning_of_unknown_origin_convicts_nobody(several: Start, item: TreeItem) -> None:
    """A partial file from an earlier run holds a wrong byte; the only origin is honest."""
    async with several(1) as here:
        await here.proxy.read(INDEX)
        data = bytearray(item.read()[: SIZE // 2])
        data[EARLY] ^= 1
        (here.proxy.layout.incoming / item.digest).write_bytes(data)

        replies = [await here.ask(item) for _ in range(2)]

        assert is_right(replies[1], item)
        assert await here.wrong_copies() == [0]


# One does so for some items


async def test_who_lies_about_some_items_is_avoided_for_those_and_still_of_use(
    several: Start, tree: SignedTree, clock: Clock
) -> None:
    """After the quarter of an hour it comes first again, but not for what it had wrong again and again."""
    items = add_items(tree, 4)
    async with several(2) as here:
        culprit = here.origins[0]
        for item in items[:2]:
            culprit.fault(item.path, Fault(corrupt_at=LATE))
        assert is_right(await here.ask(items[0]), items[0])
        clock.advance(901)
        here.proxy.documents.route._distrusted_until.clear()

        assert is_right(await here.ask(items[3]), items[3])
        assert here.counts(items[3]) == [1, 0]
        assert is_right(await here.ask(items[1]), items[1])
        assert here.counts(items[1]) == [1, 1]
        assert await here.wrong_copies() == [2, 0]


async def test_a_block_grows_while_the_same_is_found_and_ends_with_the_first_right_copy(
    several: Start, item: TreeItem, clock: Clock
) -> None:
    """15 s, 30 s, 60 s: the whole item is fetched in vain each time."""
    async with several(1) as here:
        (origin,) = here.origins
        origin.fault(item.path, Fault(corrupt_at=LATE))
        await here.ask(item)
        for times, block_s in enumerate((15, 30, 60), 1):
            clock.advance(block_s - 1)
            await here.ask(item)
            assert origin.count(item.path) == times
            clock.advance(2)
            await here.ask(item)
            assert origin.count(item.path) == times + 1
        origin.heal()
        clock.advance(300)
        assert is_right(await here.ask(item), item)
        await here.proxy.fills_ended()
        ledger = here.proxy.cache.storage.ledger
        assert await here.proxy.cache.storage.threads.ledger(ledger.keys, "bad/") == []

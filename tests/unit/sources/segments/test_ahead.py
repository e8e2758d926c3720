"""A large item that comes slowly comes over several connections."""

import asyncio

import pytest
from support.faults import Fault
from support.segmented import MIB, RATE, SIZE, PartsCounted, Several, host_of

from proxy.sources.candidates import Doubts
from proxy.sources.pull import Part
from proxy.sources.segments.hosts import MOST_MEMORY_BYTES


async def test_further_connections_make_it_faster(one: Several) -> None:
    alone, pull = one.pull(), one.pull()
    alone.may_widen = lambda: False
    slower, faster = (asyncio.create_task(one.comes_right(each)) for each in (alone, pull))
    ended, _ = await asyncio.wait((slower, faster), return_when=asyncio.FIRST_COMPLETED)
    assert ended == {faster}
    assert await faster
    assert await slower
    assert one.counts[0] >= 3
    assert one.sent_bytes < 2.3 * SIZE
    assert SIZE / 4 < one.parts.fetched_bytes < SIZE
    assert one.parts.discarded_bytes < 0.3 * SIZE
    assert pull.parts == [Part(one.origins[0].url, 0, SIZE)]
    assert repr(one.hosts) == "Hosts({}, 0 bytes ahead)"


async def test_a_fast_origin_is_asked_once(one: Several) -> None:
    one.origins[0].heal()
    assert await one.comes_right()
    assert one.counts == [1]
    assert vars(one.parts) == vars(PartsCounted())


async def test_one_connection_for_each_item_is_one(one: Several) -> None:
    one.hosts.connections_per_item = 1
    assert await one.comes_right()
    assert one.counts == [1]


async def test_who_may_not_widen_has_one_connection(one: Several) -> None:
    pull = one.pull()
    pull.may_widen = lambda: False
    assert await one.comes_right(pull)
    assert one.counts == [1]


async def test_who_may_not_widen_any_more_gives_connections_back(one: Several) -> None:
    pull = one.pull()
    reading = asyncio.create_task(one.comes_right(pull))
    await one.origins[0].arrived("item", 2)
    pull.may_widen = lambda: False
    assert await reading
    assert one.counts[0] <= 4
    assert one.parts.times_given_up >= 1


async def test_the_last_parts_of_a_slow_origin_come_from_a_fast_one(two: Several) -> None:
    """Also while the slow one has fewer connections than it may have."""
    two.fault(Fault(rate_bytes_s=RATE / 100))
    assert await two.comes_right()
    assert max(seen.sent_bytes for seen in two.origins[0].gets("item")) < 500_000


async def test_parts_take_over_where_the_rest_is_refused(one: Several) -> None:
    """The item does not begin again, nor is what came ahead lost."""
    one.fault(Fault(rate_bytes_s=RATE, rest_status=403))
    one.fault(Fault(rate_bytes_s=RATE, cut_after=3 * MIB), times=1)
    assert await one.comes_right()
    assert one.sent_bytes < 1.4 * SIZE
    assert [seen.status for seen in one.origins[0].gets("item")].count(200) == 1


async def test_what_is_ahead_is_not_lost_when_the_main_transfer_fails_over(two: Several) -> None:
    reading = asyncio.create_task(two.comes_right())
    await two.origins[1].arrived("item")
    await two.origins[0].stop()
    assert await reading
    assert two.sent_bytes < 1.7 * SIZE


async def test_parts_come_from_several_origins_and_are_noted(two: Several) -> None:
    two.hosts.connections_per_item = 2
    pull = two.pull()
    assert await two.comes_right(pull)
    assert min(two.counts) >= 1
    assert [part.start for part in pull.parts] == [0, *(part.stop for part in pull.parts[:-1])]
    assert pull.parts[-1].stop == SIZE
    assert pull.contributors == {one.url for one in two.origins}


async def test_origins_that_are_not_joined_give_nothing_as_long_as_the_first_one_works(two: Several) -> None:
    two.route.is_joined = False
    assert await two.comes_right()
    assert two.counts[0] > 1
    assert two.counts[1] == 0


async def test_what_was_wrong_before_is_asked_for_over_one_connection(one: Several) -> None:
    """The origin may be one that sends other bytes for a part."""
    assert await one.comes_right(one.pull(Doubts(is_suspect=True)))
    assert one.counts == [1]


async def test_all_comes_from_one_origin_where_a_mixture_was_wrong(two: Several) -> None:
    two.hosts.connections_per_item = 2
    pull = two.pull(Doubts(is_mixed=True))
    assert await two.comes_right(pull)
    assert len(pull.contributors) == 1
    assert 0 in two.counts


async def test_what_came_ahead_and_nobody_had_is_counted_as_discarded(one: Several) -> None:
    """Who reads leaves while parts are ahead."""
    pieces = one.pull().pieces()
    async for piece in pieces:
        if not isinstance(piece, bytes):
            await asyncio.to_thread(piece.read)
        if one.hosts.free_memory_bytes(object()) < MOST_MEMORY_BYTES and one.counts[0] > 1:
            break
    async with asyncio.timeout(60):
        while not one.parts.fetched_bytes:  # noqa: ASYNC110 - parts end while nobody reads on
            await asyncio.sleep(0.01)
    await pieces.aclose()
    assert one.parts.discarded_bytes >= one.parts.fetched_bytes > 0


async def test_another_item_at_the_host_gets_its_share(one: Several) -> None:
    reading = asyncio.create_task(one.comes_right())
    await one.origins[0].arrived("item", 3)
    for other in range(3):
        one.hosts.connected(host_of(one.origins[0]), other)
    one.origins[0].clear()
    assert await reading
    assert one.counts[0] <= 3


@pytest.mark.parametrize("after", [1, 2, 3])
async def test_whoever_leaves_midway_leaves_nothing(one: Several, after: int) -> None:
    tasks = asyncio.all_tasks()
    reading = asyncio.create_task(one.read())
    await one.origins[0].arrived("item", after)
    await asyncio.sleep(0.05 * after)
    reading.cancel()
    await asyncio.wait([reading])
    assert reading.cancelled()
    assert repr(one.hosts) == "Hosts({}, 0 bytes ahead)"
    await one.origins[0].idle()
    left = {task for task in asyncio.all_tasks() - tasks if "part" in task.get_name()}
    assert not left

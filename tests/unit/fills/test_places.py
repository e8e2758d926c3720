"""Places for transfers: bounded, shared fairly among clients, and given up when nobody waits."""

import asyncio
from collections.abc import Iterable

import pytest

from proxy.fills.places import Places, TooManyTransfers, places_by_files


class Figures:
    """Keeps what was told last."""

    def __init__(self) -> None:
        self.last = (0, 0)
        self.refused = 0

    def note(self, running: int, waiting: int) -> None:
        self.last = running, waiting

    def turned_away(self) -> None:
        self.refused += 1


class Transfer:
    """Holds a place until it is ended."""

    def __init__(self, places: Places, client: str | None, left_bytes: int = 100) -> None:
        self._places = places
        self.left_bytes = left_bytes
        self.is_dispensable = True
        self.times_let_go = 0
        self.taking = asyncio.create_task(places.take(self, client))

    @property
    def runs(self) -> bool:
        return self.taking.done() and not self.taking.cancelled() and self.taking.exception() is None

    @property
    def was_let_go(self) -> bool:
        return self.times_let_go > 0

    def let_go(self) -> None:
        self.times_let_go += 1

    async def end(self) -> None:
        self.taking.cancel()
        await asyncio.gather(self.taking, return_exceptions=True)
        self._places.give_back(self)
        await asyncio.sleep(0)


@pytest.fixture
def figures() -> Figures:
    return Figures()


@pytest.fixture
def places(figures: Figures) -> Places:
    return Places(8, 60, figures)


async def begin(places: Places, client: str | None, count: int = 1) -> list[Transfer]:
    """Let transfers ask for places, one after the other."""
    begun = [Transfer(places, client) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return begun


async def end(*transfers: Transfer) -> None:
    for one in transfers:
        await one.end()


def running(transfers: Iterable[Transfer]) -> list[bool]:
    return [one.runs for one in transfers]


async def test_one_client_has_half_of_the_places_and_what_ends_makes_room(
    places: Places, figures: Figures
) -> None:
    greedy = await begin(places, "a", 6)
    assert running(greedy) == [True] * 4 + [False] * 2
    assert figures.last == (4, 2)
    modest = await begin(places, "b", 2)
    assert running(modest) == [True, True]
    await end(greedy[0])
    assert running(greedy[1:]) == [True] * 4 + [False]
    await end(*greedy, *modest)
    assert figures.last == (0, 0)


async def test_who_has_fewest_is_next_and_jobs_come_last(places: Places) -> None:
    first, second = await begin(places, "a", 4), await begin(places, "b", 4)
    jobs = await begin(places, None, 2)
    more = await begin(places, "a", 2)
    newcomer = await begin(places, "c")
    await end(first[0])
    assert running(newcomer) == [True]
    await end(first[1])
    assert running(more) == [True, False]
    assert running(jobs) == [False, False]
    await end(first[2], second[0])
    assert running(more) == [True, True]
    assert running(jobs) == [True, False]
    await end(*first, *second, *jobs, *more, *newcomer)


async def test_clients_without_an_address_are_not_one_client(places: Places) -> None:
    """All may come through the operator's own front, by a local socket."""
    transfers = await begin(places, "", 8)
    assert all(running(transfers))
    await end(*transfers)


async def test_the_queue_is_bounded_for_one_and_for_all(places: Places, figures: Figures) -> None:
    queued = await begin(places, "a", 4 + 16)
    (refused,) = await begin(places, "a")
    with pytest.raises(TooManyTransfers, match="you have 16 transfers waiting already"):
        await refused.taking
    others = [one for name in "bcdef" for one in await begin(places, name, 4)]
    (late,) = await begin(places, "g")
    with pytest.raises(TooManyTransfers, match="all 8 places for transfers are taken, and 32 wait already"):
        await late.taking
    assert figures.refused == 2
    jobs = await begin(places, None)
    assert not jobs[0].taking.done()
    await end(refused, late, *queued, *others, *jobs)
    assert figures.last == (0, 0)


async def test_nobody_waits_for_ever(figures: Figures) -> None:
    places = Places(4, 0.01, figures)
    holders = await begin(places, "a", 2)
    (late,) = await begin(places, "a")
    with pytest.raises(TooManyTransfers, match=r"no place .* in 0.01 s"):
        await late.taking
    await end(late)
    await end(*holders)
    assert figures.last == (0, 0)


async def test_who_waits_for_what_another_asked_for_has_it_at_its_own_turn(places: Places) -> None:
    greedy = await begin(places, "a", 6)
    assert not greedy[-1].runs
    places.wanted(greedy[-1], "b")
    await asyncio.sleep(0)
    assert running(greedy) == [True] * 4 + [False, True]
    await end(*greedy)


async def test_what_nobody_waits_for_goes_on_until_others_need_its_place(places: Places) -> None:
    """And then the one that has most to go."""
    holders = await begin(places, "a", 4)
    holders[1].left_bytes, holders[2].left_bytes = 1000, 10
    for one in holders[1:3]:
        places.unwanted(one)
    assert not any(one.was_let_go for one in holders)
    more = await begin(places, "a")
    assert [one.was_let_go for one in holders] == [False, True, False, False]
    still_more = await begin(places, "a")
    assert [one.was_let_go for one in holders] == [False, True, True, False]
    await end(*holders[1:3])
    assert running([*more, *still_more]) == [True, True]
    await end(*holders, *more, *still_more)


async def test_only_what_helps_those_who_wait_is_let_go(places: Places) -> None:
    """While places are free, those of others are of no use to a client that has its share."""
    greedy, modest = await begin(places, "a", 4), await begin(places, "b", 2)
    places.unwanted(modest[0])
    more = await begin(places, "a")
    assert not modest[0].was_let_go
    assert not more[0].runs
    await end(*more)
    others = await begin(places, "c", 2)
    assert not modest[0].was_let_go
    late = await begin(places, "d")
    assert modest[0].was_let_go
    await end(*greedy, *modest, *others, *late)


async def test_what_was_let_go_and_has_not_ended_yet_is_not_let_go_again(places: Places) -> None:
    """And counts as the place that the next one will have."""
    holders = await begin(places, "a", 4)
    for one in holders[:2]:
        places.unwanted(one)
    holders[0].left_bytes = 1000
    first = await begin(places, "a")
    assert [one.times_let_go for one in holders] == [1, 0, 0, 0]
    places.unwanted(holders[1])
    assert [one.times_let_go for one in holders] == [1, 0, 0, 0]
    second = await begin(places, "a")
    assert [one.times_let_go for one in holders] == [1, 1, 0, 0]
    await end(*holders, *first, *second)


async def test_as_much_is_let_go_as_there_are_clients_that_wait(places: Places) -> None:
    holders = await begin(places, "a", 4)
    for one in holders[:2]:
        one.is_dispensable = False
        places.unwanted(one)
    first = await begin(places, "a")
    assert not any(one.was_let_go for one in holders)
    for one in holders[:2]:
        one.is_dispensable = True
    second = await begin(places, "a")
    assert [one.was_let_go for one in holders] == [True, True, False, False]
    await end(*holders, *first, *second)


async def test_of_what_nobody_waits_for_a_quarter_of_the_places_is_enough(places: Places) -> None:
    holders = await begin(places, "", 5)
    for number, one in enumerate(holders):
        one.left_bytes = number
        one.is_dispensable = number != 4
        places.unwanted(one)
    assert [one.was_let_go for one in holders] == [False, False, True, True, False]
    places.wanted(holders[0], "")
    await end(*holders)


async def test_what_is_wanted_again_stays(places: Places) -> None:
    holders = await begin(places, "a", 4)
    places.unwanted(holders[0])
    places.wanted(holders[0], "b")
    more = await begin(places, "a")
    assert not holders[0].was_let_go
    await end(*holders, *more)


async def test_a_job_does_not_push_out_what_a_client_began(places: Places) -> None:
    holders = await begin(places, "", 8)
    places.unwanted(holders[0])
    jobs = await begin(places, None)
    assert not holders[0].was_let_go
    assert repr(places) == "Places(8 of 8 taken, 1 waiting)"
    await end(*holders, *jobs)


@pytest.mark.parametrize(
    ("wanted", "files", "most"), [(256, 65536, 256), (256, 1024, 64), (8, 65536, 8), (256, 10, 4)]
)
def test_there_are_no_more_places_than_open_files_for_them(wanted: int, files: int, most: int) -> None:
    assert places_by_files(wanted, files) == most

"""Who is served next within a process, with a purse that the test fills."""

import asyncio
import contextlib

import pytest

from proxy.sources.limits.flow import Flow
from proxy.sources.limits.limit import Limit
from proxy.sources.limits.limits import UNLIMITED, Limits
from proxy.sources.limits.opened import BackgroundBandwidth
from proxy.sources.limits.priority import Priority
from proxy.sources.limits.state import Rules, Taken

RATE = 64_000
CHUNK = Rules.of(RATE).chunk_bytes


class Purse:
    """Holds so many chunks, and notes who asked."""

    rate_bytes_s = float(RATE)

    def __init__(self, chunks: int = 0) -> None:
        self.chunks = chunks
        self.asked: list[tuple[Priority, int]] = []

    def take(self, priority: Priority, waiting: int) -> Taken:
        self.asked.append((priority, waiting))
        if not self.chunks:
            return Taken(0, 0.001)
        self.chunks -= 1
        return Taken(CHUNK)


class Trickle(Purse):
    """Holds a chunk every other time that somebody asks."""

    def take(self, priority: Priority, waiting: int) -> Taken:
        self.asked.append((priority, waiting))
        self.chunks = 1 - self.chunks
        return Taken(CHUNK) if self.chunks else Taken(0, 0.001)


class Sparing(Purse):
    """Holds chunks that it keeps for clients, and has anybody else wait for an hour."""

    def take(self, priority: Priority, waiting: int) -> Taken:
        return super().take(priority, waiting) if priority <= Priority.CLIENT else Taken(0, 3600)


class Torn(Purse):
    """Has nothing, and then something happens to it."""

    def take(self, priority: Priority, waiting: int) -> Taken:
        if self.asked:
            raise ZeroDivisionError
        return super().take(priority, waiting)


class TornFlow(Flow):
    """A transfer that does not come to wait, for something happens to it."""

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        raise ZeroDivisionError


def flow(priority: Priority) -> Flow:
    return Flow(lambda: priority)


class Line:
    """Transfers that wait at a limit, and the order in which they were served."""

    def __init__(self, limit: Limit) -> None:
        self.served: list[str] = []
        self.tasks: list[asyncio.Task[None]] = []
        self._limit = limit

    async def join(self, name: str, transfer: Flow, most_bytes: int = CHUNK) -> None:
        async def wait() -> None:
            await self._limit.take(most_bytes, transfer)
            self.served.append(name)

        self.tasks.append(asyncio.create_task(wait()))
        await asyncio.sleep(0)

    async def all(self) -> list[str]:
        async with asyncio.timeout(60):
            await asyncio.gather(*self.tasks)
        return self.served


async def test_priorities_come_first_and_then_who_came_first() -> None:
    line = Line(Limit(purse := Purse()))
    for name, priority in (("b", Priority.BACKGROUND), ("c", Priority.CLIENT), ("d", Priority.CLIENT)):
        await line.join(name, flow(priority))
    await line.join("a", flow(Priority.DOCUMENT))
    purse.chunks = 4
    assert await line.all() == ["a", "c", "d", "b"]


async def test_who_comes_when_all_have_been_served_is_served_too() -> None:
    limit, one = Limit(purse := Purse(1)), flow(Priority.CLIENT)
    for count in range(3):
        line = Line(limit)
        await line.join(f"{count}", one)
        purse.chunks = 1
        assert await line.all() == [f"{count}"]
    assert purse.asked == [(Priority.CLIENT, 1)] * len(purse.asked)


async def test_a_transfer_with_many_connections_gets_the_same_share_as_one_with_one() -> None:
    line = Line(Limit(purse := Purse()))
    many, one = flow(Priority.CLIENT), flow(Priority.CLIENT)
    for _ in range(3):
        await line.join("many", many)
    for _ in range(2):
        await line.join("one", one)
    purse.chunks = 5
    assert await line.all() == ["many", "one", "many", "one", "many"]


async def test_one_who_wants_much_gets_a_chunk_and_one_who_wants_little_no_more_than_that() -> None:
    limit = Limit(Purse(2))
    first = flow(Priority.CLIENT)
    assert limit.take_now(10 * CHUNK, first) == CHUNK
    assert limit.take_now(100, first) == 100
    assert limit.take_now(10 * CHUNK, first) == CHUNK - 100
    assert limit.take_now(10 * CHUNK, first) == 0


async def test_nobody_overtakes_those_who_wait() -> None:
    limit = Limit(purse := Purse())
    line = Line(limit)
    await line.join("first", flow(Priority.CLIENT))
    purse.chunks = 1
    assert limit.take_now(1, flow(Priority.CLIENT)) == 0
    assert await line.all() == ["first"]


async def test_a_client_that_comes_is_served_at_once_however_long_a_prefetch_still_has_to_wait() -> None:
    """What a prefetch waits for is more than what a client needs."""
    line = Line(limit := Limit(Sparing(2)))
    await line.join("prefetch", flow(Priority.BACKGROUND))
    await asyncio.sleep(0)  # Served once: it waits for an hour now.
    for name in ("first", "second"):
        await line.join(name, flow(Priority.CLIENT))
        async with asyncio.timeout(60):
            await line.tasks[-1]
    assert line.served == ["first", "second"]
    line.tasks[0].cancel()
    limit.close()


async def test_a_prefetch_that_a_client_joins_goes_first() -> None:
    priorities = {"joined": Priority.BACKGROUND}
    line = Line(Limit(purse := Purse()))
    await line.join("other", flow(Priority.CLIENT))
    await line.join("joined", Flow(lambda: priorities["joined"]))
    priorities["joined"] = Priority.DOCUMENT
    purse.chunks = 2
    assert await line.all() == ["joined", "other"]


async def test_a_prefetch_gets_something_now_and_then_so_that_no_origin_hangs_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many clients take all that comes."""
    monkeypatch.setattr("proxy.sources.limits.limit._PATIENCE_S", 0.05)
    limit = Limit(Trickle())
    client, prefetch = flow(Priority.CLIENT), flow(Priority.BACKGROUND)
    is_served = asyncio.create_task(limit.take(CHUNK, prefetch))
    taking = [asyncio.create_task(_take_again_and_again(limit, client, is_served)) for _ in range(2)]
    async with asyncio.timeout(30):
        assert await is_served == CHUNK
        assert min(await asyncio.gather(*taking)) > 0


async def _take_again_and_again(limit: Limit, transfer: Flow, until: "asyncio.Task[int]") -> int:
    """Return how often something was taken."""
    times = 0
    while not until.done():
        await limit.take(CHUNK, transfer)
        times += 1
    return times


async def test_who_leaves_the_line_takes_nothing_with_it() -> None:
    limit = Limit(purse := Purse())
    line = Line(limit)
    await line.join("gone", flow(Priority.CLIENT))
    await line.join("stays", flow(Priority.CLIENT))
    line.tasks.pop(0).cancel()
    purse.chunks = 1
    assert await line.all() == ["stays"]
    assert "waiting: []" in repr(limit)


async def test_who_leaves_just_when_it_was_served_gives_it_back() -> None:
    limit = Limit(purse := Purse())
    line = Line(limit)
    await line.join("gone", flow(Priority.CLIENT))
    purse.chunks = 1
    limit._serve()
    line.tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await line.tasks[0]
    assert limit.take_now(CHUNK, flow(Priority.CLIENT)) == CHUNK


async def test_who_leaves_just_before_it_would_be_served_stops_nobody() -> None:
    limit = Limit(purse := Purse())
    line = Line(limit)
    await line.join("gone", flow(Priority.CLIENT))
    await line.join("stays", flow(Priority.CLIENT))
    line.tasks.pop(0).cancel()
    purse.chunks = 2
    limit._serve()
    assert await line.all() == ["stays"]


async def test_the_processes_are_told_how_many_transfers_wait() -> None:
    line = Line(Limit(purse := Purse()))
    for priority in (Priority.BACKGROUND, Priority.CLIENT, Priority.CLIENT):
        await line.join("x", flow(priority))
    purse.chunks = 3
    await line.all()
    assert purse.asked[-3:] == [(Priority.CLIENT, 2), (Priority.CLIENT, 1), (Priority.BACKGROUND, 1)]


async def test_of_several_limits_the_lowest_holds_and_the_others_lose_nothing() -> None:
    wide, narrow = Limit(Purse(1)), Limit(Purse(1))
    narrow.take_now(CHUNK - 100, flow(Priority.CLIENT))
    assert await Limits([wide, narrow]).take(CHUNK, flow(Priority.CLIENT)) == 100
    assert wide.take_now(CHUNK, flow(Priority.CLIENT)) == CHUNK - 100


async def test_who_leaves_while_one_of_several_limits_lets_it_wait_gives_back_what_the_others_granted() -> (
    None
):
    first, second = Limit(Purse(1)), Limit(Purse())
    taking = asyncio.create_task(Limits([first, second]).take(CHUNK, one := flow(Priority.CLIENT)))
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.wait([taking])
    assert (first.take_now(CHUNK, one), second.take_now(CHUNK, one)) == (CHUNK, 0)


@pytest.mark.parametrize("waits_at", [1, 2], ids=["the limit of all", "a third one"])
async def test_a_wait_that_takes_too_long_gives_back_what_each_limit_before_it_granted(waits_at: int) -> None:
    """That of the mirror, say, while that on all that comes from upstream lets it wait."""
    limits, one = [Limit(Purse(n < waits_at)) for n in range(3)], flow(Priority.CLIENT)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await Limits(limits).take(CHUNK, one)
    assert [limit.take_now(CHUNK, one) for limit in limits] == [CHUNK * (n < waits_at) for n in range(3)]
    assert not any(limit._lines for limit in limits), "nor does it wait any more"


async def test_whatever_else_happens_while_one_waits_gives_back_what_the_others_granted() -> None:
    first, second = Limit(Purse(1)), Limit(torn := Torn())
    torn.asked.append((Priority.CLIENT, 1))
    with pytest.raises(ZeroDivisionError):
        await Limits([first, second]).take(CHUNK, one := flow(Priority.CLIENT))
    assert first.take_now(CHUNK, one) == CHUNK
    first, second = Limit(Purse(1)), Limit(Purse())
    with pytest.raises(ZeroDivisionError):
        await Limits([first, second]).take(CHUNK, TornFlow())
    assert first.take_now(CHUNK, one) == CHUNK


async def test_what_many_give_back_at_once_is_not_lost() -> None:
    """But for what is more than a quarter of a second brings."""
    limit, one = Limit(purse := Purse(100)), flow(Priority.CLIENT)
    granted = [limit.take_now(CHUNK, one) for _ in range(100)]
    for count in granted[:10]:
        limit.give_back(count)
    assert [limit.take_now(CHUNK, one) for _ in range(11)] == [CHUNK] * 10 + [0]
    for count in granted:
        limit.give_back(count)
    back = 0
    while count := limit.take_now(CHUNK, one):
        back += count
    assert back == Rules.of(RATE).most_credit_bytes
    assert purse.chunks == 0


async def test_without_a_limit_all_comes_at_once() -> None:
    assert await UNLIMITED.take(10**9, flow(Priority.BACKGROUND)) == 10**9
    assert not UNLIMITED


async def test_the_background_pays_for_all_that_has_passed() -> None:
    bandwidth = BackgroundBandwidth(Limit(purse := Purse(10)))
    await bandwidth.take(3 * CHUNK + 1)
    assert purse.chunks == 6

"""Who gives way to whom, and for how long at most."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.digest import Digest, digest_of
from proxy.fills.demand import Demand
from proxy.fills.interest import Interest
from proxy.fills.pace import Background, Limited, Turn
from proxy.sources.limits.priority import Priority
from proxy.sources.throttle import TokenBucket

OURS, THEIRS = digest_of(b"ours"), digest_of(b"theirs")
NOTE_LASTS_S = 1.0
MOST_S = 5.0


class Time:
    """Seconds that pass only while somebody sleeps; clients may wait for `THEIRS` meanwhile."""

    def __init__(self, demand: Demand) -> None:
        self.now = 1000.0
        self.slept_s = 0.0
        self.clients_wait_s = 0.0
        """For how long, of what is slept, clients renew their demand."""
        self._demand = demand

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept_s += seconds
        if self.slept_s < self.clients_wait_s:
            self._demand.note(THEIRS, self.now)
        assert self.slept_s < 60, "it waits for ever"


@pytest.fixture
def demand(tmp_path: Path) -> Iterator[Demand]:
    demand = Demand(tmp_path / "demand")
    yield demand
    demand.close()


@pytest.fixture
def time(demand: Demand) -> Time:
    return Time(demand)


@pytest.fixture
def background(demand: Demand, time: Time) -> Background:
    return Background(demand, None, time, time.sleep)


async def test_the_background_goes_on_at_once_while_nobody_waits(background: Background, time: Time) -> None:
    await background.admit(OURS, 100)
    assert time.slept_s == 0


async def test_the_background_gives_way_until_clients_wait_no_more(
    background: Background, demand: Demand, time: Time
) -> None:
    demand.note(THEIRS, time.now)
    time.clients_wait_s = 2.0
    await background.admit(OURS, 100)
    assert 2.0 <= time.slept_s <= 2.0 + NOTE_LASTS_S + 0.2


async def test_giving_way_has_a_bound_however_long_clients_wait(
    background: Background, demand: Demand, time: Time
) -> None:
    demand.note(THEIRS, time.now)
    time.clients_wait_s = 50.0
    await background.admit(OURS, 100)
    assert MOST_S - 0.2 <= time.slept_s <= MOST_S + 0.2


async def test_the_background_does_not_give_way_to_clients_of_the_same_item(
    background: Background, demand: Demand, time: Time
) -> None:
    demand.note(OURS, time.now)
    await background.admit(OURS, 100)
    assert time.slept_s == 0


async def test_another_bandwidth_does_not_stop_it_from_giving_way(
    background: Background, demand: Demand, time: Time
) -> None:
    demand.note(THEIRS, time.now)
    await Limited(background, TokenBucket(10**9, time)).admit(OURS, 100)
    assert time.slept_s >= NOTE_LASTS_S - 0.2


async def test_a_fill_gives_way_once_its_own_clients_have_left(
    background: Background, demand: Demand, time: Time
) -> None:
    interest = Interest(OURS, demand, time)
    turn = Turn(OURS, interest, background)
    interest.add("a client")
    at_once_bytes = turn.at_once_bytes
    demand.note(THEIRS, time.now)

    await turn.give_way(100)
    assert time.slept_s == 0

    interest.remove("a client")
    time.now += 2 * NOTE_LASTS_S
    demand.note(THEIRS, time.now)
    assert turn.at_once_bytes < at_once_bytes
    await turn.give_way(100)
    assert time.slept_s > 0


async def test_a_prefetch_keeps_no_bandwidth_while_clients_of_another_process_wait_for_its_item(
    demand: Demand, time: Time
) -> None:
    class Slow:
        asked = 0

        async def admit(self, digest: Digest, count: int) -> None:
            assert (digest, count) == (OURS, 100)
            self.asked += 1

        def allows_more(self, digest: Digest) -> bool:
            return bool(digest)

    interest, slow = Interest(OURS, demand, time), Slow()
    interest.add(None)
    turn = Turn(OURS, interest, slow)
    await turn.give_way(100)
    assert slow.asked == 1
    in_background_bytes = turn.at_once_bytes

    demand.note(OURS, time.now)
    await turn.give_way(100)
    assert slow.asked == 1
    assert turn.at_once_bytes > in_background_bytes

    time.now += NOTE_LASTS_S
    await turn.give_way(100)
    assert slow.asked == 2


async def test_a_fill_tells_other_processes_of_its_clients_as_it_goes_on(
    background: Background, demand: Demand, time: Time
) -> None:
    interest = Interest(OURS, demand, time)
    interest.add("a client")
    time.now += 2 * NOTE_LASTS_S
    assert not demand.must_yield(THEIRS, time.now)
    await Turn(OURS, interest, background).give_way(100)
    assert demand.must_yield(THEIRS, time.now)
    assert not interest.has_clients_elsewhere()
    time.now += 0.1
    demand.note(OURS, time.now)
    assert interest.has_clients_elsewhere()


async def test_a_job_is_no_client(demand: Demand, time: Time) -> None:
    interest = Interest(OURS, demand, time)
    interest.add(None)
    assert interest
    assert (interest.had_clients, demand.must_yield(THEIRS, time.now)) == (False, False)
    interest.remove(None)
    assert not interest


def test_a_fill_is_in_the_background_while_no_client_waits_for_it(
    background: Background, demand: Demand, time: Time
) -> None:
    """Where a limit makes transfers wait."""
    interest = Interest(OURS, demand, time)
    turn = Turn(OURS, interest, background)
    assert turn.priority() is Priority.BACKGROUND
    interest.add("192.0.2.1")
    assert turn.priority() is Priority.CLIENT
    interest.remove("192.0.2.1")
    time.now += 2 * NOTE_LASTS_S
    assert turn.priority() is Priority.BACKGROUND


def test_waiting_for_a_limit_does_not_let_the_demand_lapse(
    background: Background, demand: Demand, time: Time
) -> None:
    interest = Interest(OURS, demand, time)
    turn = Turn(OURS, interest, background)
    interest.add("192.0.2.1")
    time.now += 2 * NOTE_LASTS_S
    turn.priority()
    assert demand.must_yield(THEIRS, time.now)


class Unlimited:
    """A bandwidth that lets all pass, and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    async def take(self, count: int) -> None:
        self.taken += count


async def test_further_connections_are_for_clients_and_for_who_keeps_no_bandwidth(
    demand: Demand, background: Background, time: Time
) -> None:
    assert background.allows_more(OURS)
    bucket = Unlimited()
    kept = Background(demand, bucket, time, time.sleep)
    assert not kept.allows_more(OURS)
    limited = Limited(background, bucket)
    assert not limited.allows_more(OURS)
    interest = Interest(OURS, demand, time)
    assert Turn(OURS, interest, background).allows_more()
    assert not Turn(OURS, interest, kept).allows_more()
    assert Turn(OURS, interest, kept).at_once_bytes == 512 * 1024
    demand.note(THEIRS, time.now)
    assert not background.allows_more(OURS)
    assert background.allows_more(THEIRS)
    assert not Turn(OURS, interest, background).allows_more()
    interest.add("client")
    assert Turn(OURS, interest, background).allows_more()
    assert Turn(OURS, interest, kept).allows_more()
    assert Turn(OURS, interest, kept).at_once_bytes == 4 * 1024 * 1024
    time.now += 2
    await limited.admit(OURS, 7)
    await kept.admit(OURS, 5)
    assert bucket.taken == 12

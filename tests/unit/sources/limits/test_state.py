"""How much processes that share a limit take, and whose turn it is: with a clock that the test moves."""

import heapq
import math
from itertools import count
from random import Random

import pytest

from proxy.sources.limits.priority import Priority
from proxy.sources.limits.state import Asker, Rules, Seat, State

RATE = 5_000_000
MIB = 1024 * 1024


class Process:
    """A process with some transfers of one priority; each receives for 2 ms, and asks again."""

    def __init__(self, key: int, transfers: int, priority: Priority, rate: float, begins_at: float) -> None:
        self.asker = Asker(key, rate)
        self.waiting = transfers
        self.priority = priority
        self.begins_at = begins_at
        self.taken: list[tuple[float, int]] = []

    def between(self, start: float, stop: float) -> int:
        """Return how many bytes it took in a span."""
        return sum(size for at, size in self.taken if start <= at < stop)


def process(
    transfers: int, priority: Priority = Priority.CLIENT, rate: float = RATE, begins_at: float = 0.0
) -> Process:
    """Return a process with a key of its own."""
    return Process(next(_keys), transfers, priority, rate, begins_at)


_keys = count(1)


def simulate(*processes: Process, seconds: float, late_s: float = 0.0) -> None:
    """Let all take what they can; every wake-up is late by `late_s` on average."""
    random, numbers = Random(1), count()
    events: list[tuple[float, int, Process, bool]] = []
    data = b""

    def later(at: float, one: Process, *, is_back: bool) -> None:
        late = random.expovariate(1 / late_s) if late_s else 0.0
        heapq.heappush(events, (at + late, next(numbers), one, is_back))

    for one in processes:
        later(one.begins_at, one, is_back=False)
    has_timer = set(processes)
    while events and events[0][0] < seconds:
        now, _, one, is_back = heapq.heappop(events)
        if is_back:
            one.waiting += 1
            if one in has_timer:
                continue
        has_timer.discard(one)
        while one.waiting:
            state = State.parsed(data, now)
            taken = state.take(one.asker, one.priority, one.waiting, now)
            data = state.packed()
            if not taken.size_bytes:
                later(now + taken.wait_s, one, is_back=False)
                has_timer.add(one)
                break
            one.waiting -= 1
            one.taken.append((now, taken.size_bytes))
            later(now + 0.002, one, is_back=True)


def rate_of(*processes: Process, start: float = 1.0, stop: float = 11.0) -> float:
    """Return what they took together, as a part of the limit."""
    return sum(one.between(start, stop) for one in processes) / (stop - start) / RATE


@pytest.mark.parametrize("late_s", [0.0, 0.005, 0.02])
@pytest.mark.parametrize("transfers", [(1,), (8,), (1, 1), (5, 3), (7, 1), (1, 1, 1, 1)])
def test_all_together_take_the_limit(transfers: tuple[int, ...], late_s: float) -> None:
    processes = [process(one) for one in transfers]
    simulate(*processes, seconds=11, late_s=late_s)
    assert rate_of(*processes) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("transfers", [(1, 1), (5, 3), (7, 1), (1, 1, 1, 1)])
def test_each_transfer_gets_the_same_whatever_process_it_is_in(transfers: tuple[int, ...]) -> None:
    processes = [process(one) for one in transfers]
    simulate(*processes, seconds=11, late_s=0.003)
    for one, many in zip(processes, transfers, strict=True):
        assert rate_of(one) / many * sum(transfers) == pytest.approx(1, abs=0.1)


def test_what_comes_at_once_after_a_pause_is_a_quarter_of_a_second_at_most() -> None:
    one, other = process(8), process(8)
    simulate(one, other, seconds=2)
    for start in (0.0, 0.1, 0.5, 1.0):
        most = RATE * (0.25 + 0.05) + 4 * Rules.of(RATE).chunk_bytes
        assert sum(each.between(start, start + 0.05) for each in (one, other)) <= most
    assert rate_of(one, other, start=0, stop=2) <= 1 + 0.25 / 2


@pytest.mark.parametrize("rate", [16 * 1024, 64_000, 1_000_000, 1_250_000_000])
def test_low_and_high_limits_hold(rate: int) -> None:
    one, other = process(4, rate=rate), process(4, rate=rate)
    simulate(one, other, seconds=11)
    assert rate_of(one, other) * RATE == pytest.approx(rate, rel=0.02)


def test_chunks_are_small_at_low_limits_so_that_nobody_seems_to_stall() -> None:
    assert Rules.of(64_000).chunk_bytes <= 64_000 / 16
    assert Rules.of(1_250_000_000).chunk_bytes == 4 * MIB


def test_while_a_client_takes_all_the_background_gets_next_to_nothing() -> None:
    client, background = process(1, begins_at=3), process(8, Priority.BACKGROUND)
    simulate(client, background, seconds=11)
    assert rate_of(background, start=1, stop=3) == pytest.approx(1, abs=0.02)
    assert rate_of(client, start=3.5, stop=11) >= 0.95
    assert rate_of(background, start=3.5, stop=11) <= 0.02


def test_a_document_does_not_wait_behind_clients() -> None:
    clients = [process(32), process(32)]
    document = process(1, Priority.DOCUMENT, begins_at=3)
    simulate(*clients, document, seconds=3.1)
    began, _ = document.taken[0]
    assert began == pytest.approx(3, abs=0.001)
    assert document.between(3, 3.1) >= 0.1 * RATE


def test_a_process_that_died_in_line_stops_the_others_for_a_moment_only() -> None:
    died, alive = process(1), process(1)
    state = State(filled_at=0.0)
    state.take(died.asker, Priority.CLIENT, 5, 0.0)
    now, taken = 0.0, 0
    while now < 1.0:
        found = state.take(alive.asker, Priority.CLIENT, 1, now)
        taken += found.size_bytes
        now += found.wait_s if not found.size_bytes else 0.0
    assert taken >= RATE * 0.9


def test_with_different_limits_the_lowest_of_those_that_fetch_holds() -> None:
    high, low = process(1), process(1, rate=RATE / 5, begins_at=4)
    simulate(high, low, seconds=8)
    assert rate_of(high, low, start=1, stop=4) == pytest.approx(1, abs=0.02)
    assert rate_of(high, low, start=4.5, stop=8) == pytest.approx(0.2, abs=0.02)


def test_another_process_counts_no_more_once_it_has_not_asked_for_a_while() -> None:
    high, low = process(1), process(1, rate=RATE / 5)
    state = State(filled_at=0.0)
    state.take(low.asker, Priority.CLIENT, 1, 0.0)
    state.take(high.asker, Priority.CLIENT, 1, 10.0)
    assert [seat.key for seat in state.seats] == [high.asker.key]


def test_more_processes_than_seats_keep_the_limit_all_the_same() -> None:
    crowd = [process(1) for _ in range(80)]
    simulate(*crowd, seconds=3)
    assert rate_of(*crowd, start=1, stop=3) == pytest.approx(1, abs=0.02)


# What is no state


@pytest.mark.parametrize(
    "data",
    [b"", b"short", bytes(4096), b"\xff" * 4096, b"limit 1\n" + b"\xff" * 4088, b"limit 1\n" + bytes(100)],
)
def test_what_is_no_state_is_a_new_one(data: bytes) -> None:
    state = State.parsed(data, 100.0)
    taken = state.take(Asker(1, RATE), Priority.CLIENT, 1, 100.0)
    assert 0 < taken.size_bytes <= RATE / 4
    assert 0 <= state.credit_bytes <= RATE / 4


@pytest.mark.parametrize("moment", [1e9, math.nan, math.inf])
def test_a_state_from_before_a_restart_of_the_machine_is_a_new_one(moment: float) -> None:
    """Its monotonic clock begins anew."""
    state = State(credit_bytes=0.0, filled_at=moment)
    assert State.parsed(state.packed(), 5.0) == State(filled_at=5.0)


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"rate": -1.0}, {"rate": 1e-300}, {"tag": 1e300}, {"tag": -1e300}, {"tag": math.nan}],
)
def test_a_seat_that_nobody_can_have_taken_is_no_state(wrong: dict[str, float]) -> None:
    """By a rate of nothing the wait is endless; tags of that size do not grow: one goes first for ever."""
    taken = {"rate": RATE, "tag": 5.0} | wrong
    seat = Seat(9, 100.0, taken["rate"], tags=[taken["tag"]] * 3)
    state = State(0.0, 100.0, seats=[seat])
    assert State.parsed(state.packed(), 100.0) == State(filled_at=100.0)
    seat = Seat(9, 100.0, RATE, tags=[5.0] * 3)
    assert State.parsed(State(0.0, 100.0, seats=[seat]).packed(), 100.0).seats == [seat]


def test_a_state_is_read_as_it_was_written() -> None:
    state = State(filled_at=7.0)
    state.take(Asker(1, RATE), Priority.CLIENT, 3, 7.0)
    state.take(Asker(2, RATE), Priority.BACKGROUND, 2, 7.5)
    assert State.parsed(state.packed(), 7.5) == state

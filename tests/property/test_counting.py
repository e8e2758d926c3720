"""Counters against a model, while the clock jumps as the clocks of real machines do."""

from collections.abc import Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from proxy.counting.tally import STEP_S, STEPS, Tally, read_counts
from proxy.counting.totals import Sums

NAMES = ("apples", "pears", "plums")
BEGAN = 1_750_000_000
DAY_S = STEPS * STEP_S

JUMPS_S = st.one_of(
    st.integers(0, 2 * STEP_S),
    st.integers(-3 * STEP_S, 0),
    st.sampled_from([STEP_S, DAY_S - STEP_S, DAY_S, DAY_S + STEP_S, -DAY_S, -DAY_S - STEP_S, 10 * DAY_S]),
)
AMOUNTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**40)), min_size=1, max_size=3)
Event = tuple[int, int, list[tuple[int, int]]]
"""Which process, how far the clock jumps before, and what it counts."""
EVENTS = st.lists(st.tuples(st.integers(0, 2), JUMPS_S, AMOUNTS), max_size=25)


class Model:
    """One process: all that was ever counted, and for each place in the day only the step written last."""

    def __init__(self) -> None:
        self.totals = [0, 0, 0]
        self.places: dict[int, tuple[int, list[int]]] = {}

    def add(self, now: int, amounts: Iterable[tuple[int, int]]) -> None:
        step = now // STEP_S
        number, row = self.places.get(step % STEPS, (step, [0, 0, 0]))
        if number != step:
            row = [0, 0, 0]
        self.places[step % STEPS] = (step, row)
        for index, amount in amounts:
            self.totals[index] += amount
            row[index] += amount


def run(folder: Path, events: list[Event]) -> tuple[int, Sums, list[Model]]:
    """Let three processes count; return the time, what their files say together, and what each should."""
    now = BEGAN
    models = [Model(), Model(), Model()]
    with ExitStack() as stack:
        tallies = [
            stack.enter_context(closing(Tally(folder / str(n), NAMES, lambda: float(now)))) for n in range(3)
        ]
        for process, jump_s, amounts in events:
            now += jump_s
            tallies[process].add(*amounts)
            models[process].add(now, amounts)
    sums = Sums(NAMES)
    for n in range(3):
        counts = read_counts(folder / str(n), NAMES)
        assert counts is not None
        sums.add(counts)
    return now, sums, models


def added(rows: Iterable[list[int]]) -> dict[str, int]:
    return dict(zip(NAMES, map(sum, zip(*rows, [0, 0, 0], strict=False)), strict=True))


@given(EVENTS)
def test_totals_lose_nothing_however_the_clock_jumps(events: list[Event]) -> None:
    with TemporaryDirectory() as folder:
        _, sums, models = run(Path(folder), events)

    assert sums.total() == added(model.totals for model in models)


@given(EVENTS, st.integers(1, STEPS), st.integers(-DAY_S, 2 * DAY_S))
def test_the_last_hours_are_what_was_counted_in_them(events: list[Event], steps: int, later_s: int) -> None:
    """Neither what is older, nor what a clock that went wrong for a while put into the future."""
    with TemporaryDirectory() as folder:
        now, sums, models = run(Path(folder), events)
    now += later_s
    last = now // STEP_S
    kept = [place for model in models for place in model.places.values()]

    assert sums.since(now, steps * STEP_S) == added(row for at, row in kept if last - steps < at <= last)
    assert sums.series(now, steps) == [
        (float(at * STEP_S), added(row for number, row in kept if number == at))
        for at in range(last - steps + 1, last + 1)
    ]


@given(EVENTS)
def test_while_the_clock_goes_on_a_day_is_all_of_the_last_day(events: list[Event]) -> None:
    """With no jump back, nothing of the last 288 steps has lost its place."""
    events = [(process, abs(jump_s), amounts) for process, jump_s, amounts in events]
    with TemporaryDirectory() as folder:
        now, sums, _ = run(Path(folder), events)
    at, expected = BEGAN, [0, 0, 0]
    for _, jump_s, amounts in events:
        at += jump_s
        if at // STEP_S > now // STEP_S - STEPS:
            for index, amount in amounts:
                expected[index] += amount

    assert sums.since(now, DAY_S) == dict(zip(NAMES, expected, strict=True))
    assert sums.since(now, 10 * DAY_S) == sums.since(now, DAY_S)


@given(EVENTS, st.lists(st.sampled_from([*NAMES, "figs", "dates", "ü"]), min_size=1, unique=True))
def test_a_release_with_other_counters_loses_none(events: list[Event], others: list[str]) -> None:
    with TemporaryDirectory() as folder:
        run(Path(folder), events)
        file = Path(folder) / "0"
        before = read_counts(file, NAMES)
        assert before is not None

        with closing(Tally(file, others, lambda: float(BEGAN))):
            pass

        assert read_counts(file, NAMES) == before
        known = read_counts(file, others)
        assert known is not None
        kept = dict(zip(NAMES, before.totals, strict=True))
        assert known.totals == tuple(kept.get(name, 0) for name in others)
        with closing(Tally(file, NAMES, lambda: float(BEGAN))):
            pass
        assert read_counts(file, NAMES) == before


@given(st.binary(max_size=200) | st.binary(max_size=60).map(lambda data: b"counters" + data))
def test_whatever_lies_in_a_file_counting_goes_on(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "0"
        file.write_bytes(data)
        assert read_counts(file, NAMES) is None
        with closing(Tally(file, NAMES, lambda: float(BEGAN))) as tally:
            tally.add((0, 3))
        counts = read_counts(file, NAMES)
        assert counts is not None
        assert counts.totals == (3, 0, 0)

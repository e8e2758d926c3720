"""Counters in files: exact, kept, shared by threads and processes, and never a danger to who counts."""

import errno
import os
import threading
from pathlib import Path

import pytest
from support.holding import Holding
from support.running import Clock

from proxy.counting import subjects
from proxy.counting.counters import Counters
from proxy.counting.outcomes import OUTCOMES
from proxy.counting.subjects import FIRST_BYTE_EDGES_S
from proxy.counting.tally import STEP_S, STEPS, Counts, Row, Tally, read_counts
from proxy.counting.totals import Totals, read_totals

NAMES = ("apples", "pears")
NOW = 1_750_000_000.0
STEP = int(NOW) // STEP_S


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


def test_counts_are_kept_for_all_time_and_by_five_minutes(tmp_path: Path, clock: Clock) -> None:
    tally = Tally(tmp_path / "file", NAMES, clock)
    tally.add((0, 2), (1, 5))
    clock.now += STEP_S
    tally.add((0, 1))

    counts = read_counts(tmp_path / "file", NAMES)

    assert counts is not None
    assert counts.totals == (3, 5)
    assert sorted(counts.rows) == [Row(STEP, (2, 5)), Row(STEP + 1, (1, 0))]


def test_after_a_day_a_step_takes_the_place_of_an_old_one_and_the_total_stays(
    tmp_path: Path, clock: Clock
) -> None:
    tally = Tally(tmp_path / "file", NAMES, clock)
    tally.add((0, 2))
    clock.now += STEPS * STEP_S
    tally.add((1, 1))

    counts = read_counts(tmp_path / "file", NAMES)

    assert counts is not None
    assert (counts.totals, counts.rows) == ((2, 1), (Row(STEP + STEPS, (0, 1)),))


def test_numbers_do_not_end_at_32_bits(tmp_path: Path, clock: Clock) -> None:
    tally = Tally(tmp_path / "file", NAMES, clock)
    for _ in range(3):
        tally.add((0, 2**60))

    counts = read_counts(tmp_path / "file", NAMES)

    assert counts is not None
    assert counts.totals == (3 * 2**60, 0)


def test_what_is_counted_goes_on_when_the_file_is_opened_again(tmp_path: Path, clock: Clock) -> None:
    for _ in range(3):
        tally = Tally(tmp_path / "file", NAMES, clock)
        tally.add((0, 1))
        tally.close()

    counts = read_counts(tmp_path / "file", NAMES)

    assert counts is not None
    assert (counts.totals, counts.rows) == ((3, 0), (Row(STEP, (3, 0)),))


@pytest.mark.parametrize("names", [("pears", "apples"), ("apples",), ("plums",), ("plums", "pears")])
def test_a_release_with_other_counters_goes_on_with_those_that_it_knows(
    tmp_path: Path, clock: Clock, names: tuple[str, ...]
) -> None:
    """And one that is gone back to finds all of its own again."""
    old = Tally(tmp_path / "file", NAMES, clock)
    old.add((0, 7), (1, 8))
    old.close()
    before = [{"apples": 7, "pears": 8}.get(name, 0) for name in names]

    new = Tally(tmp_path / "file", names, clock)
    new.add((0, 1))
    new.close()

    counts = read_counts(tmp_path / "file", names)
    after = (before[0] + 1, *before[1:])
    assert counts == Counts(after, (Row(STEP, after),))
    again = Tally(tmp_path / "file", NAMES, clock)
    again.add((1, 1))
    counts = read_counts(tmp_path / "file", NAMES)
    assert counts is not None
    assert counts.totals == (7 + (names[0] == "apples"), 8 + (names[0] == "pears") + 1)
    again.close()


def test_what_replaces_a_file_of_other_counters_is_whole_or_not_there(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Tally(tmp_path / "file", NAMES, clock)
    old.add((0, 7), (1, 8))
    old.close()
    data = (tmp_path / "file").read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(Path, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Tally(tmp_path / "file", ("plums",), clock)

    assert (tmp_path / "file").read_bytes() == data
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_reader_of_before_goes_on_while_the_file_is_replaced(tmp_path: Path, clock: Clock) -> None:
    """A worker that ends after the next one has begun: neither takes the other's bytes."""
    before = Tally(tmp_path / "file", NAMES, clock)
    before.add((0, 7))
    after = Tally(tmp_path / "file", ("plums",), clock)
    before.add((0, 1))
    after.add((0, 5))

    counts = read_counts(tmp_path / "file", ("plums", *NAMES))

    assert counts is not None
    assert counts.totals == (5, 7, 0)
    before.close()
    after.close()


@pytest.mark.parametrize("data", [b"", b"?", b"not counters", bytes(8), bytes(100_000)])
def test_a_file_that_is_no_tally_says_nothing_and_is_begun_anew(
    tmp_path: Path, clock: Clock, data: bytes
) -> None:
    (tmp_path / "file").write_bytes(data)
    assert read_counts(tmp_path / "file", NAMES) is None

    Tally(tmp_path / "file", NAMES, clock).add((1, 1))

    counts = read_counts(tmp_path / "file", NAMES)
    assert counts is not None
    assert (counts.totals, counts.rows) == ((0, 1), (Row(STEP, (0, 1)),))


def test_threads_do_not_lose_each_others_counts(tmp_path: Path, clock: Clock) -> None:
    tally = Tally(tmp_path / "file", NAMES, clock)

    def count() -> None:
        for _ in range(2000):
            tally.add((0, 1), (1, 2))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    counts = read_counts(tmp_path / "file", NAMES)
    assert counts is not None
    assert counts.totals == counts.rows[0].counts == (8000, 16000)


def test_the_space_of_a_file_is_taken_when_it_is_made(tmp_path: Path, clock: Clock) -> None:
    """Counting into a hole of a file would kill the process on the day when the disk is full."""
    Tally(tmp_path / "file", NAMES, clock)

    status = (tmp_path / "file").stat()

    assert status.st_blocks * 512 >= status.st_size > 0


@pytest.mark.parametrize("call", ["posix_fallocate", "replace"])
def test_on_a_full_disk_counting_goes_on_for_this_process_alone(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    old = Tally(tmp_path / "file", NAMES[:1], clock)
    old.add((0, 7))
    old.close()
    monkeypatch.setattr(os, call, full)
    monkeypatch.setattr(Path, call, full, raising=False)

    tally = Tally(tmp_path / "file", NAMES, clock)
    tally.add((0, 1), (1, 1))
    tally.close()

    counts = read_counts(tmp_path / "file", NAMES)
    assert counts is not None
    assert counts.totals == (7, 0)


# The counters of all processes


def totals(folder: Path) -> Totals:
    return read_totals(folder)


def test_every_outcome_has_counters_of_its_own(tmp_path: Path, clock: Clock) -> None:
    counters = Counters(tmp_path, clock)
    for number, outcome in enumerate(OUTCOMES, 1):
        for _ in range(number):
            counters.mirror("m").ended(outcome, 10 * number, None, is_aborted=False)

    total = totals(tmp_path).mirrors["m"].total()

    assert [total[f"requests {one}"] for one in OUTCOMES] == list(range(1, len(OUTCOMES) + 1))
    assert [total[f"sent {one}"] for one in OUTCOMES] == [10 * n**2 for n in range(1, len(OUTCOMES) + 1)]
    assert sum(total.values()) == sum(n + 10 * n**2 for n in range(1, len(OUTCOMES) + 1))
    counters.close()


@pytest.mark.parametrize(
    ("seconds", "edge"),
    [(0.0, "0.001"), (0.001, "0.001"), (0.00101, "0.0025"), (1.0, "1.0"), (30.0, "30.0"), (30.1, "inf")],
)
def test_a_first_byte_is_counted_below_the_next_edge(
    tmp_path: Path, clock: Clock, seconds: float, edge: str
) -> None:
    counters = Counters(tmp_path, clock)
    counters.mirror("m").ended("hit", 0, seconds, is_aborted=True)

    total = totals(tmp_path).mirrors["m"].total()

    counted = {one for one in (*map(str, FIRST_BYTE_EDGES_S), "inf") if total[f"first byte {one}"]}
    assert counted == {edge}
    assert total["first byte us"] == int(seconds * 1e6)
    assert total["aborted"] == 1
    counters.close()


def test_processes_count_side_by_side_and_their_sum_is_told(tmp_path: Path, clock: Clock) -> None:
    """The files of one that is gone are gone on with, not lost and not counted twice."""
    one, two = Counters(tmp_path, clock), Counters(tmp_path, clock)
    one.store.evicted(5)
    two.store.evicted(7)
    two.origin("http://a.test/x y/").received(3)
    one.close()
    three = Counters(tmp_path, clock)
    three.store.evicted(1)

    told = totals(tmp_path)

    assert told.store.total()["evicted blobs"] == 3
    assert told.store.total()["evicted bytes"] == 13
    assert told.origins["http://a.test/x y/"].total()["bytes"] == 3
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "1"]
    two.close()
    three.close()


def test_what_a_killed_process_counted_is_kept(tmp_path: Path, clock: Clock) -> None:
    code = (
        "import time; from pathlib import Path; from proxy.counting.counters import Counters\n"
        "counters = Counters(Path(sys.argv[1]), time.time)\n"
        "for _ in range(100): counters.mirror('m').fetched(3)"
    )
    with Holding(code, tmp_path) as process:
        own = Counters(tmp_path, clock)
        own.mirror("m").fetched(1)
        process.kill()
    successor = Counters(tmp_path, clock)
    successor.mirror("m").fetched(1)

    assert totals(tmp_path).mirrors["m"].total()["fetched"] == 302
    assert sorted(one.name for one in tmp_path.iterdir()) == ["0", "1"]
    own.close()
    successor.close()


def test_a_mirror_that_is_no_longer_configured_still_counts_in_the_total(
    tmp_path: Path, clock: Clock
) -> None:
    counters = Counters(tmp_path, clock)
    counters.mirror("gone").fetched(2)
    counters.mirror("here").fetched(3)

    assert totals(tmp_path).all_mirrors.total()["fetched"] == 5
    counters.close()


def test_nothing_is_counted_before_there_is_a_folder(tmp_path: Path) -> None:
    assert totals(tmp_path / "none").all_mirrors.total()["fetched"] == 0


def test_counters_may_change_their_places(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever adds one writes its name where it reads best."""
    for table in ("_ORIGIN", "_STORE", "_TRANSFERS"):
        names = ("new", *reversed(getattr(subjects, table)))
        monkeypatch.setattr(subjects, table, names)
        monkeypatch.setitem(subjects.NAMES, table.removeprefix("_").lower(), names)
    here = Counters(tmp_path / "stats", clock)
    origin = here.origin("o")
    origin.answered(0.5, is_good=True)
    origin.answered(0.25, is_good=False)
    origin.failed()
    origin.received(7)
    origin.wrong()
    here.store.evicted(10)
    here.store.checked(20)
    here.store.damaged()
    here.store.repaired()
    here.transfers.let_go()
    here.transfers.turned_away()
    here.transfers.turned_away()
    here.close()

    totals = read_totals(tmp_path / "stats")

    assert totals.origins["o"].total() == {
        "new": 0, "ok": 1, "error": 2, "bytes": 7, "latency us": 750_000, "latency count": 2, "wrong": 1,
    }  # fmt: skip
    assert totals.store.total() == {
        "new": 0, "evicted blobs": 1, "evicted bytes": 10, "checked blobs": 1, "checked bytes": 20,
        "damaged": 1, "repaired": 1,
    }  # fmt: skip
    assert totals.transfers.total() == {"new": 0, "let go": 1, "turned away": 2}

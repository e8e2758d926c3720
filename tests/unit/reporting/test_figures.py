"""From counters to the figures that people read, and to what is wrong according to them."""

from pathlib import Path
from typing import Any

import pytest

from proxy.counting.counters import Counters
from proxy.counting.outcomes import OUTCOMES
from proxy.counting.tally import STEP_S
from proxy.counting.totals import read_totals
from proxy.reporting.figures import (
    DAY_S,
    HOUR_S,
    hit_ratio,
    origin,
    parts,
    saved_bytes,
    traffic,
    upstream,
)
from proxy.reporting.problems import find_problems

NOW = 1_750_000_200.0


class Counted:
    """Counters of a mirror and an origin, filled at chosen times."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.now = NOW
        self.counters = Counters(folder, lambda: self.now)

    def ended(self, outcome: str, sent: int = 0, first_byte_s: float | None = None, times: int = 1) -> None:
        for _ in range(times):
            self.counters.mirror("m").ended(outcome, sent, first_byte_s, is_aborted=False)

    @property
    def mirror(self) -> dict[str, Any]:
        return traffic(read_totals(self._folder).mirrors["m"], self.now)

    @property
    def origin(self) -> dict[str, Any]:
        return origin(read_totals(self._folder).origins["o"], None, self.now)


@pytest.fixture
def counted(tmp_path: Path) -> Counted:
    return Counted(tmp_path)


def test_the_rate_is_that_of_the_last_whole_five_minutes_and_told_of_the_limit(counted: Counted) -> None:
    counted.counters.mirror("m").fetched(150_000)
    counted.now += STEP_S
    counted.counters.mirror("m").fetched(7)
    sums = read_totals(counted._folder).all_mirrors

    told = {"rate_bytes_s": 500, "limit_bytes_s": 1000, "limit_used": 0.5}
    assert upstream(sums, 1000, counted.now) == told
    assert upstream(sums, None, counted.now) == {**told, "limit_bytes_s": None, "limit_used": None}


def test_what_became_of_parts_is_summed_up(counted: Counted) -> None:
    for count in (10, 20):
        counted.counters.parts.fetched(count)
    counted.counters.parts.given_up()
    counted.counters.parts.refused()
    counted.counters.parts.discarded(5)

    told = parts(read_totals(counted._folder).parts)
    assert told == {"fetched": 2, "given_up": 1, "refused": 1, "ahead_bytes": 30, "discarded_bytes": 5}


def test_without_requests_there_is_no_ratio(counted: Counted) -> None:
    """Not 0, which would look like a fault."""
    told = counted.mirror

    assert told["hit_ratio"] == {"hour": None, "day": None, "all_time": None}
    assert told["first_byte_s"] == {"p50_hour": None, "p99_hour": None}
    assert set(told["requests"]) == set(told["sent_bytes"]) == set(OUTCOMES)


def test_the_hit_ratio_is_of_requests_that_could_have_been_hits(counted: Counted) -> None:
    """Not of what is absent, refused, or not to be had."""
    for outcome, times in {"hit": 3, "stale": 2, "miss": 1, "join": 1, "bypass": 1}.items():
        counted.ended(outcome, times=times)
    for outcome in ("absent", "offline", "refused", "error"):
        counted.ended(outcome, times=10)

    assert counted.mirror["hit_ratio"] == {"hour": 0.625, "day": 0.625, "all_time": 0.625}


def test_saved_is_what_clients_got_and_no_origin_sent_for_them(counted: Counted) -> None:
    for number, outcome in enumerate(OUTCOMES):
        counted.ended(outcome, 10**number)

    sent = counted.mirror["sent_bytes"]

    assert sent == {outcome: 10**number for number, outcome in enumerate(OUTCOMES)}
    assert counted.mirror["saved_bytes"] == sent["hit"] + sent["stale"] + sent["join"]


def test_hour_and_day_end_and_all_time_does_not(counted: Counted) -> None:
    counted.ended("miss")
    counted.now += DAY_S - HOUR_S
    counted.ended("hit")
    assert counted.mirror["hit_ratio"] == {"hour": 1.0, "day": 0.5, "all_time": 0.5}

    counted.now += HOUR_S
    assert counted.mirror["hit_ratio"] == {"hour": None, "day": 1.0, "all_time": 0.5}

    counted.now += DAY_S
    assert counted.mirror["hit_ratio"] == {"hour": None, "day": None, "all_time": 0.5}


def test_the_first_byte_is_told_as_the_edge_below_which_a_share_of_replies_came(counted: Counted) -> None:
    counted.ended("hit", first_byte_s=0.0007, times=98)
    counted.ended("miss", first_byte_s=0.2)
    counted.ended("miss", first_byte_s=100.0)
    counted.ended("absent")

    assert counted.mirror["first_byte_s"] == {"p50_hour": 0.001, "p99_hour": 0.25}


def test_an_origins_latency_is_the_mean_of_the_last_hour(counted: Counted) -> None:
    meter = counted.counters.origin("o")
    meter.answered(9.0, is_good=True)
    meter.wrong()
    assert counted.origin["latency_s"] == 9.0
    counted.now += 2 * HOUR_S
    assert counted.origin["latency_s"] is None
    meter.answered(0.1, is_good=True)
    meter.answered(0.3, is_good=False)
    meter.failed()
    meter.received(77)
    meter.wrong()

    assert counted.origin == {
        "requests": {"ok": 2, "error": 2},
        "last_hour": {"ok": 1, "error": 2, "wrong": 1},
        "wrong_copies": 2,
        "last_wrong": None,
        "distrusted_until": None,
        "received_bytes": 77,
        "latency_s": 0.2,
    }


def test_ratios_of_plain_counts() -> None:
    count = {f"{what} {outcome}": 0 for what in ("requests", "sent") for outcome in OUTCOMES}
    count |= {"requests hit": 1, "requests miss": 2, "sent join": 5, "sent bypass": 7}

    assert hit_ratio(count) == 0.3333
    assert saved_bytes(count) == 5


# What is wrong


def healthy() -> dict[str, Any]:
    """Return figures of which nothing is wrong, as far as problems look at them."""
    return {
        "offline": False,
        "mirrors": {
            "m": {"failures": 0, "is_ready": True, "last_problem": "", "last_refusal": "", "is_stale": False}
        },
        "origins": {
            "http://o/": {
                "last_hour": {"ok": 3, "error": 3, "wrong": 0},
                "last_wrong": None,
                "distrusted_until": None,
            }
        },
        "store": {"is_writable": True, "free_bytes": 200, "min_free_bytes": 100, "quarantined": 0},
        "scrub": {"damaged_blobs": 2, "repaired_blobs": 2},
        "prefetch": [{"name": "lab", "last": None}, {"name": "new", "last": {"outcome": "complete"}}],
    }


def test_nothing_is_wrong_when_all_is_well() -> None:
    assert find_problems(healthy()) == []


@pytest.mark.parametrize(
    ("path", "change", "subject", "severity", "said"),
    [
        ("mirrors.m", {"failures": 1, "is_ready": False, "last_problem": "P"}, "mirror m", "error", "P"),
        ("mirrors.m", {"failures": 4, "last_problem": "P"}, "mirror m", "warning", "4 times: P"),
        ("mirrors.m", {"last_refusal": "R", "refused": {"path": "R"}}, "mirror m", "warning", "R"),
        (
            "origins.http://o/",
            {"last_hour": {"ok": 1, "error": 2, "wrong": 0}},
            "origin http://o/",
            "warning",
            "2 of 3",
        ),
        (
            "origins.http://o/",
            {"last_hour": {"ok": 1, "error": 0, "wrong": 2}, "last_wrong": {"path": "a", "problem": "P"}},
            "origin http://o/",
            "warning",
            "2 times in the last hour, last a: P",
        ),
        ("origins.http://o/", {"distrusted_until": 7.0}, "origin http://o/", "warning", "asked last"),
        ("store", {"is_writable": False, "faults": ["full"]}, "store", "error", "cannot be written: full"),
        ("store", {"free_bytes": 199}, "store", "warning", "199 B"),
        ("store", {"quarantined": 3}, "store", "warning", "3 damaged"),
        ("scrub", {"repaired_blobs": 1}, "scrub", "warning", "1 damaged"),
        ("prefetch.0", {"last": {"outcome": "failed", "problem": "P"}}, "rule lab", "warning", "P"),
        ("prefetch.1", {"last": {"outcome": "partial", "problem": "P"}}, "rule new", "warning", "P"),
    ],
)
def test_each_trouble_is_told_with_what_to_do(
    path: str, change: dict[str, Any], subject: str, severity: str, said: str
) -> None:
    stats = healthy()
    place: Any = stats
    for key in path.split("."):
        place = place[int(key) if key.isdigit() else key]
    place.update(change)

    (problem,) = find_problems(stats)

    assert (problem.subject, problem.severity) == (subject, severity)
    assert said in problem.text
    assert problem.advice


def test_offline_nobody_is_warned_of_lists_that_cannot_be_checked() -> None:
    stats = healthy() | {"offline": True}
    stats["mirrors"]["m"].update(failures=4, last_problem="P")

    assert find_problems(stats) == []


def test_errors_are_told_first() -> None:
    stats = healthy()
    stats["mirrors"]["m"] |= {"last_refusal": "R", "refused": {"path": "R"}}
    stats["store"] |= {"is_writable": False, "faults": ["full"]}

    assert [problem.severity for problem in find_problems(stats)] == ["error", "warning"]

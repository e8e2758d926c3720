"""Figures in the form of monitoring plugins."""

import copy
import re
from typing import Any

import pytest

from proxy.reporting.health import Health, Limit, Limits, Status, health, health_of_readiness, unknown

GIB = 1024**3
PERFORMANCE = re.compile(r"'[^'= ]+'=-?[0-9.e+]+(?:s|B|c|%)?;[0-9.e+]*:?;[0-9.e+]*:?;0")
STATS: dict[str, Any] = {
    "offline": False,
    "problems": [],
    "mirrors": {
        "maas": {"is_ready": True, "failures": 0, "index_age_s": 86400.4, "checked_s_ago": 120.0},
        "idle": {"is_ready": False, "failures": 0},
    },
    "store": {"free_bytes": 40 * GIB, "bytes": 3 * GIB, "blobs": 12},
    "total": {"hit_ratio": {"day": 0.7}, "sent_bytes": {"hit": 5, "miss": 6}, "fetched_bytes": 6},
}
ERROR = {"severity": "error", "subject": "store", "text": "cannot be written: full|disk\nhere", "advice": ""}
ODD = {"severity": "warning", "subject": "mirror maas", "text": "could not be checked", "advice": ""}


def judged(limits: Limits | None = None, *problems: dict[str, str], mirrors: tuple[str, ...] = ()) -> Health:
    return health({**copy.deepcopy(STATS), "problems": problems}, limits or Limits(), mirrors)


def test_one_line_says_that_all_is_well_with_figures_to_plot() -> None:
    found = judged()
    said, _, figures = found.text.partition(" | ")

    assert found.status is Status.OK
    assert said == "SSTREAM-PROXY OK - 1 of 2 mirrors with lists, 3.0 GiB in 12 blobs, 40.0 GiB free"
    assert all(PERFORMANCE.fullmatch(one) for one in figures.split(" ")), figures
    assert "'index_age_maas'=86400s;;;0" in figures
    assert f"'free'={40 * GIB}B;;;0" in figures
    assert "'hit_ratio'=70%;;;0" in figures


@pytest.mark.parametrize(
    ("limits", "status"),
    [
        (Limits(index_age_s=Limit(90_000, 100_000)), Status.OK),
        (Limits(index_age_s=Limit(80_000, 100_000)), Status.WARNING),
        (Limits(index_age_s=Limit(80_000, 86_400)), Status.CRITICAL),
        (Limits(unchecked_s=Limit(60, 600)), Status.WARNING),
        (Limits(free_bytes=Limit(30 * GIB, 10 * GIB)), Status.OK),
        (Limits(free_bytes=Limit(50 * GIB, 10 * GIB)), Status.WARNING),
        (Limits(free_bytes=Limit(90 * GIB, 41 * GIB)), Status.CRITICAL),
        (Limits(hit_ratio=Limit(80, 20)), Status.WARNING),
    ],
)
def test_limits_of_either_direction_are_judged(limits: Limits, status: Status) -> None:
    assert judged(limits).status is status


def test_a_floor_is_written_as_the_range_that_it_is() -> None:
    assert f"'free'={40 * GIB}B;50:;10:;0" in judged(Limits(free_bytes=Limit(50, 10))).text
    assert "'unchecked_maas'=120s;60;600;0" in judged(Limits(unchecked_s=Limit(60, 600))).text


def test_problems_count_by_their_severity_and_the_worst_is_told_first() -> None:
    found = judged(None, ODD, ERROR)

    assert found.status is Status.CRITICAL
    assert found.text.startswith(
        "SSTREAM-PROXY CRITICAL - store cannot be written: full/disk here; mirror maas could not be checked"
    )
    assert judged(None, ODD).status is Status.WARNING


def test_many_problems_stand_on_lines_of_their_own() -> None:
    found = judged(None, *[{**ODD, "subject": f"mirror m{number}"} for number in range(5)])

    assert found.text.count("\n") == 2
    assert "and 2 more | " in found.text.split("\n")[0]


def test_a_mirror_that_is_named_has_to_be_there_and_ready() -> None:
    assert judged(mirrors=("maas",)).status is Status.OK
    assert judged(mirrors=("idle",)).status is Status.CRITICAL
    assert "there is no mirror gone" in judged(mirrors=("gone",)).text


def test_readiness_alone_is_judged_too() -> None:
    assert health_of_readiness({"ready": True, "reasons": []}).status is Status.OK
    assert health_of_readiness({"ready": False, "reasons": ["x"]}) == Health(
        Status.CRITICAL, "SSTREAM-PROXY CRITICAL - x"
    )
    assert health_of_readiness({}).status is Status.CRITICAL
    assert unknown("a|b").text == "SSTREAM-PROXY UNKNOWN - a/b"

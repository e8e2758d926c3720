"""The machine's time zone, in every form of $TZ that the C library takes."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.commands import run_program

from proxy.jobs.local_time import LocalTime, unknown_zone
from proxy.jobs.schedule import Window, parse_schedule

BERLIN = "CET-1CEST,M3.5.0,M10.5.0/3"
ZONES = {
    BERLIN: "Europe/Berlin",
    "Europe/Berlin": "Europe/Berlin",
    ":Australia/Lord_Howe": "Australia/Lord_Howe",
    "EST5EDT,M3.2.0,M11.1.0": "America/New_York",
    "<+0545>-5:45": "Asia/Kathmandu",
    "UTC0": "UTC",
    "": "UTC",
}


@pytest.fixture
def in_zone(request: pytest.FixtureRequest) -> Iterator[ZoneInfo]:
    """Let the process live in a zone, and return the same by its name."""
    text, name = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", text)
        time.tzset()
        yield ZoneInfo(name)
    time.tzset()


@pytest.mark.parametrize("in_zone", ZONES.items(), indirect=True, ids=ZONES.keys())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(
    seconds=st.integers(1_500_000_000, 1_900_000_000),
    minutes=st.integers(0, 60 * 24 * 365 * 8),
    fold=st.sampled_from((0, 1)),
)
def test_it_is_what_the_zone_of_that_name_is(
    in_zone: ZoneInfo, seconds: int, minutes: int, fold: int
) -> None:
    here, there = datetime.fromtimestamp(seconds, LocalTime()), datetime.fromtimestamp(seconds, in_zone)
    assert (here.replace(tzinfo=None), here.fold) == (there.replace(tzinfo=None), there.fold)
    shown = datetime(2019, 1, 1, fold=fold) + timedelta(minutes=minutes)  # noqa: DTZ001
    assert shown.replace(tzinfo=LocalTime()).timestamp() == shown.replace(tzinfo=in_zone).timestamp()


@pytest.mark.parametrize("in_zone", [(BERLIN, "Europe/Berlin")], indirect=True)
def test_schedules_and_windows_keep_to_it_when_clocks_change(in_zone: ZoneInfo) -> None:
    evening = datetime(2026, 3, 28, 23, tzinfo=in_zone).timestamp()
    due = parse_schedule("30 2 * * *", LocalTime()).due_at(evening, evening)
    assert due == datetime(2026, 3, 29, 3, tzinfo=in_zone).timestamp()
    window = Window.parse("22:00-06:00", LocalTime())
    assert window.closes_at(evening) == datetime(2026, 3, 29, 6, tzinfo=in_zone).timestamp()


@pytest.mark.parametrize("in_zone", [(BERLIN, "Europe/Berlin")], indirect=True)
def test_it_has_names(in_zone: ZoneInfo) -> None:
    summer = datetime(2026, 7, 1, 12, tzinfo=in_zone).timestamp()
    assert datetime.fromtimestamp(summer, LocalTime()).strftime("%H:%M %Z %z") == "12:00 CEST +0200"
    assert datetime.fromtimestamp(summer, UTC).hour == 10


@pytest.mark.parametrize(
    "text",
    ["", ":", "UTC", ":UTC", "Etc/UTC", "GMT", "UTC0", BERLIN, "EST5EDT", "<-03>3",
     "AAA+00:00:00BBB,J60,J300/26", "IST-2IDT,M3.4.4/26,M10.5.0"],
)  # fmt: skip
def test_a_zone_that_means_something_is_no_oddity(text: str, tmp_path: Path) -> None:
    assert unknown_zone({"TZ": text, "TZDIR": str(tmp_path)}) is None


def test_a_zone_that_is_a_file_is_no_oddity(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Berlin").write_bytes(b"TZif2" + bytes(40))
    (tmp_path / "passwd").write_text("root:x:0:0")
    places = {"TZDIR": str(tmp_path)}
    for good in (
        "Europe/Berlin",
        ":Europe/Berlin",
        f"{tmp_path}/Europe/Berlin",
        f":{tmp_path}/Europe/Berlin",
    ):
        assert unknown_zone({"TZ": good, **places}) is None
    for bad in ("Europe/Nowhere", "Europe", "garbage", "../etc/passwd", "passwd", "\udcff", "CET-1CEST,M3"):
        assert unknown_zone({"TZ": bad, **places}) == bad


@pytest.mark.parametrize(
    "text", ["UTC0", BERLIN, ":/etc/localtime", ":", "Nowhere/Land", "../etc/passwd", "\udcff"]
)
def test_every_command_starts_whatever_the_zone_is_called(text: str, tmp_path: Path) -> None:
    done = run_program("sync", "--list", folder=tmp_path, TZ=text)
    assert "no [[prefetch]] rule is configured" in done.stderr
    done = run_program("check-config", folder=tmp_path, TZ=text)
    assert done.returncode == 0
    warned = [line for line in done.stderr.splitlines() if "TZ=" in line]
    assert len(warned) == (text in {"Nowhere/Land", "../etc/passwd", "\udcff"})

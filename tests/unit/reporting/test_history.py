"""What was counted, for longer than counters know it: nothing lost, nothing twice, whatever the file is."""

import json
from pathlib import Path

import pytest

from proxy.counting.counters import Counters
from proxy.counting.totals import Totals, read_totals
from proxy.reporting.history import KEPT_HOURS, SPANS, points_of, read_hours, total_of, write_down_hours
from proxy.reporting.plots import PLOTS, THEMES, draw

HOUR_S = 3600.0
NOW = 1_750_000_000 // 86400 * 86400 + 12 * HOUR_S


class Site:
    """A site at which one request an hour is answered, with a thousand bytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = NOW
        self._counters = Counters(folder, lambda: self.now)

    def live(self, hours: int, *, writes_down_every: int = 1) -> None:
        for hour in range(hours):
            self._counters.mirror("m").ended("hit", 1000, None, is_aborted=False)
            if hour % writes_down_every == writes_down_every - 1:
                write_down_hours(self.folder, self.totals(), self.now)
            self.now += HOUR_S

    def totals(self) -> Totals:
        return read_totals(self.folder)

    def requests(self, span: str) -> int:
        points = points_of(SPANS[span], self.totals(), self.folder, self.now)
        return total_of(points)["requests hit"]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize("every", [7, 20])
def test_each_span_has_what_happened_in_it_once(site: Site, every: int) -> None:
    site.live(40 * 24, writes_down_every=every)
    assert site.requests("hours") == pytest.approx(6, abs=1)
    assert site.requests("day") == pytest.approx(24, abs=1)
    assert site.requests("week") == pytest.approx(7 * 24, abs=3)
    assert site.requests("month") == pytest.approx(30 * 24, abs=12)
    assert len(read_hours(site.folder)) <= KEPT_HOURS


def test_what_happens_now_is_shown_before_it_is_written_down(site: Site) -> None:
    site.live(3, writes_down_every=100)
    assert site.requests("month") == site.requests("week") == site.requests("day") == 3


def test_an_hour_of_which_counters_know_only_the_end_stays_whole(site: Site) -> None:
    """Two requests in it, one at either end; the first is of more than a day ago by now."""
    site.now -= 50 * 60
    site.live(1, writes_down_every=2)
    site.now -= HOUR_S - 45 * 60
    site.live(1, writes_down_every=2)
    site.now += 60 * 60
    write_down_hours(site.folder, site.totals(), site.now)
    site.now = NOW - 50 * 60 + 24.5 * HOUR_S
    write_down_hours(site.folder, site.totals(), site.now)
    assert site.requests("week") == 2


def test_hours_that_counters_have_lost_stay(site: Site) -> None:
    site.live(50)
    for file in site.folder.glob("*/counts mirror m"):
        file.unlink()
    write_down_hours(site.folder, site.totals(), site.now)
    assert site.requests("week") >= 49


@pytest.mark.parametrize(
    "text", ["", "no", "[]", '{"version": 9}', '{"names": ["a"], "hours": {"x": [1], "5": []}}']
)
def test_a_file_that_is_none_is_no_history(site: Site, text: str) -> None:
    (site.folder / "hours.json").write_text(text)
    assert read_hours(site.folder) == {}
    site.live(2)
    assert site.requests("week") == 2


def test_counters_of_another_release_are_read_as_far_as_they_are_known(site: Site) -> None:
    hour = str(int(NOW // HOUR_S) - 30)
    book = {"names": ["requests hit", "of a later release"], "hours": {hour: [5, 7]}}
    (site.folder / "hours.json").write_text(json.dumps(book))
    assert site.requests("week") == 5


@pytest.mark.parametrize("span", SPANS)
@pytest.mark.parametrize("name", PLOTS)
def test_each_span_can_be_drawn(site: Site, span: str, name: str) -> None:
    site.live(40)
    points = points_of(SPANS[span], site.totals(), site.folder, site.now)
    assert len(points) <= 80
    for theme in THEMES:
        assert draw(name, theme, points, SPANS[span]).startswith(b"<?xml")

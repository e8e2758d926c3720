"""The line of progress at every width, and for logs."""

from dataclasses import replace

import pytest

from proxy.cli.progress_text import ending, log_line, terminal_line
from proxy.cli.reckoning import Figures

GIB = 1024**3
FIGURES = Figures(
    files=60000,
    ended_files=1200,
    failed_files=2,
    size_bytes=300 * GIB,
    moved_bytes=130 * GIB,
    rate=35.1 * 1024**2,
    left_s=4961.0,
    waiting_s=0.0,
    watched_s=3000.0,
    path="server/releases/noble/release-20241004/ubuntu-24.04-server-cloudimg-amd64.squashfs",
)


def test_the_line_fits_and_begins_with_what_matters_most() -> None:
    for width in range(20, 301):
        line = terminal_line(FIGURES, width)
        assert len(line) < width
        assert line.startswith(" 43%")
        assert line.isprintable()


def test_more_room_shows_more() -> None:
    assert terminal_line(FIGURES, 20) == " 43%  35.1 MiB/s"
    assert terminal_line(FIGURES, 40) == " 43%  35.1 MiB/s  1 h 22 min left"
    assert terminal_line(FIGURES, 60) == " 43%  130.0 GiB of 300.0 GiB  35.1 MiB/s  1 h 22 min left"
    wide = terminal_line(FIGURES, 200)
    assert "[#################-----------------------]" in wide
    assert "1200 of 60000 files" in wide
    assert wide.endswith("-amd64.squashfs")


def test_a_terminal_too_narrow_for_anything_gets_no_second_line() -> None:
    assert all(len(terminal_line(FIGURES, width)) < width for width in range(1, 20))


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        (replace(FIGURES, rate=0.0, left_s=None, waiting_s=75.0), "waiting for 1 min 15 s"),
        (replace(FIGURES, moved_bytes=300 * GIB, left_s=None), "finishing"),
    ],
)
def test_a_time_that_is_not_known_is_not_told(figures: Figures, told: str) -> None:
    for line in (terminal_line(figures, 60), log_line("fetching", figures)):
        assert told in line
        assert " left" not in line


def test_the_line_of_a_log_has_all() -> None:
    assert log_line("exporting", FIGURES) == (
        "exporting: 43%, 130.0 GiB of 300.0 GiB, 1200 of 60000 files, 2 failed, 35.1 MiB/s, 1 h 22 min left"
    )


def test_names_are_cut_by_columns_and_do_nothing_to_a_terminal() -> None:
    assert ending("\u6f22" * 10, 20) == "\u6f22" * 10
    assert ending("\u6f22" * 11, 20) == "..." + "\u6f22" * 8
    line = terminal_line(replace(FIGURES, path="a\x1b[2J\r\nb"), 200)
    assert line.endswith("a\\x1b[2J\\r\\nb")

"""Rates and the time left: what is told must be true of the last seconds, or not told."""

import pytest

from proxy.cli.reckoning import Figures, Reckoning

MIB = 1024**2


class Work:
    """Work at which somebody looks each second, and that begins at an odd moment."""

    def __init__(self, size_bytes: int, files: int = 1, window_s: float = 15) -> None:
        self.now = 1234.5
        self.reckoning = Reckoning(window_s, self.now)
        self.reckoning.begun(files, size_bytes)

    def go_on(self, seconds: int, bytes_per_s: int) -> Figures:
        """Let bytes arrive each second, and return the last look."""
        for _ in range(seconds):
            self.now += 1
            if bytes_per_s:
                self.reckoning.moved("a", bytes_per_s)
            figures = self.reckoning.look(self.now)
        return figures


def test_the_first_seconds_say_nothing_of_time() -> None:
    work = Work(100 * MIB)

    early, later = work.go_on(2, MIB), work.go_on(1, MIB)

    assert (early.rate, early.left_s) == (None, None)
    assert (later.rate, later.left_s) == (MIB, 97)


def test_the_rate_is_that_of_the_last_seconds_and_not_of_all_the_time() -> None:
    work = Work(1000 * MIB)
    work.go_on(100, 8 * MIB)

    slower = work.go_on(15, MIB)

    assert slower.rate == MIB
    assert slower.left_s == (1000 - 800 - 15)
    assert slower.watched_s == 115


def test_work_that_stands_still_waits_and_has_no_time_left() -> None:
    work = Work(100 * MIB)
    work.go_on(10, MIB)

    short, long = work.go_on(4, 0), work.go_on(56, 0)
    again = work.go_on(1, MIB)

    assert short.waiting_s == 0
    assert (long.waiting_s, long.rate, long.left_s) == (60, 0, None)
    assert (again.waiting_s, again.left_s) != (0, None)
    assert again.rate == pytest.approx(MIB / 15)


def test_work_that_is_done_does_not_wait() -> None:
    assert Work(0).go_on(60, 0).waiting_s == 0


def test_a_pause_of_the_process_itself_counts_for_nothing() -> None:
    """By ctrl-Z, or a machine that slept: neither did it wait for anybody, nor was it that slow."""
    work = Work(1000 * MIB)
    work.go_on(20, MIB)
    work.now += 3600

    back, later = work.go_on(1, MIB), work.go_on(3, MIB)

    assert (back.rate, back.left_s, back.waiting_s) == (None, None, 0)
    assert (later.rate, later.left_s) == (MIB, 1000 - 24)
    assert later.watched_s == 23


def test_what_is_discarded_again_has_to_come_once_more_and_did_arrive() -> None:
    work = Work(100 * MIB)
    work.go_on(10, MIB)
    work.reckoning.moved("a", -10 * MIB)

    figures = work.go_on(10, MIB)

    assert (figures.moved_bytes, figures.rate, figures.left_s) == (10 * MIB, MIB, 90)


def test_what_a_failed_file_lacks_is_not_waited_for() -> None:
    work = Work(100 * MIB, files=2)
    work.go_on(10, MIB)
    work.reckoning.ended(has_failed=True, missing_bytes=50 * MIB)

    figures = work.go_on(1, MIB)

    assert figures.left_s == 39
    assert (figures.ended_files, figures.failed_files, figures.files) == (1, 1, 2)


@pytest.mark.parametrize(("files", "share"), [(0, 1.0), (2, 0.0)])
def test_empty_files_have_a_share_too(files: int, share: float) -> None:
    assert Work(0, files=files).go_on(1, 0).share == share

"""What is written of progress, where and when."""

import io
import json
import os
import termios
import threading

import pytest

from proxy.cli.progress import JsonLines, LineEachMinute, MovingLine, ShownProgress, make_progress
from proxy.cli.reckoning import Figures, Reckoning


def figures(moved_bytes: int = 512) -> Figures:
    reckoning = Reckoning(15, 0)
    reckoning.begun(2, 1024)
    reckoning.moved("a", moved_bytes)
    return reckoning.look(1)


def test_a_log_gets_a_line_each_minute_and_failures_at_once() -> None:
    form = LineEachMinute("exporting", 1000)

    assert form.begun(2, 1024) == "exporting 1.0 KiB in 2 files\n"
    told = [form.shown(figures(), 1000 + second) for second in range(181)]
    assert [second for second, line in enumerate(told) if line] == [60, 120, 180]
    assert told[60] == "exporting: 50%, 512 B of 1.0 KiB, 0 of 2 files\n"
    assert form.ended("m", "a", None) == ""
    assert form.ended("m", "a\nb", "it is\ngone") == "FAILED m a\\nb: it is\\ngone\n"


def test_json_tells_each_file_and_how_far_it_is() -> None:
    form = JsonLines()

    progress, item = json.loads(form.shown(figures(), 1)), json.loads(form.ended("m", "a", "gone"))

    assert item == {"event": "item", "mirror": "m", "path": "a", "problem": "gone"}
    wanted = {"event": "progress", "moved_bytes": 512, "total_bytes": 1024, "files": 2, "left_s": None}
    assert wanted.items() <= progress.items()
    assert form.look_s >= 1


def test_a_terminal_shows_one_line_as_wide_as_it_is_by_now() -> None:
    ours, theirs = os.openpty()
    form = MovingLine(theirs)

    def shown(columns: int) -> str:
        termios.tcsetwinsize(theirs, (24, columns))
        return form.shown(figures(), 1)

    narrow, wide, unknown = shown(20), shown(300), shown(0)
    os.close(ours)
    os.close(theirs)

    assert narrow == "\r 50%  0 of 2 files\x1b[K"
    assert "] " in wide
    assert "512 B of 1.0 KiB" in unknown
    assert form.ended("m", "a", None) == ""
    assert form.ended("m", "a", "gone") == "\r\x1b[KFAILED m a: gone\n"


class Stream(io.StringIO):
    """A terminal, or none."""

    def __init__(self, *, is_terminal: bool, terminal: int = 2) -> None:
        super().__init__()
        self._is_terminal = is_terminal
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return self._terminal


@pytest.mark.parametrize(
    ("is_terminal", "term", "as_json", "is_stdout_data", "on_stderr", "on_stdout"),
    [
        (True, "xterm", False, False, "", ""),
        (True, "dumb", False, False, "fetching 1.0 KiB in 2 files\n", ""),
        (True, "", False, False, "fetching 1.0 KiB in 2 files\n", ""),
        (False, "xterm", False, False, "fetching 1.0 KiB in 2 files\n", ""),
        (False, "xterm", False, True, "fetching 1.0 KiB in 2 files\n", ""),
        (True, "xterm", True, False, "", '"event": "item"'),
        (False, "xterm", True, True, '"event": "item"', ""),
    ],
)
def test_the_form_fits_where_the_output_goes(
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_terminal: bool,
    term: str,
    as_json: bool,
    is_stdout_data: bool,
    on_stderr: str,
    on_stdout: str,
) -> None:
    out, err = Stream(is_terminal=is_terminal), Stream(is_terminal=is_terminal)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    monkeypatch.setenv("TERM", term)

    progress = make_progress("fetching", as_json=as_json, is_stdout_data=is_stdout_data)
    progress.begun(2, 1024)
    progress.ended("a")
    progress.close()

    assert on_stderr in err.getvalue()
    assert on_stdout in out.getvalue()
    if not on_stdout:
        assert out.getvalue() == ""


def test_a_stream_that_takes_nothing_holds_up_no_transfer() -> None:
    stuck = threading.Event()

    class Stuck(io.StringIO):
        def write(self, text: str) -> int:
            stuck.wait(60)
            return super().write(text)

    stream = Stuck()
    progress = ShownProgress(LineEachMinute("fetching", 0), stream)
    progress.begun(1, 10)
    for _ in range(10):
        progress.moved("a", 1)
    progress.ended("a", "gone")
    stuck.set()
    progress.close()

    assert stream.getvalue() == "fetching 10 B in 1 file\nFAILED a: gone\n"


def test_a_reader_that_leaves_is_told_to_whoever_works() -> None:
    failed = threading.Event()

    class Left(io.StringIO):
        def write(self, _: str) -> int:
            failed.set()
            raise BrokenPipeError(32, "Broken pipe")

    progress = ShownProgress(LineEachMinute("fetching", 0), Left())
    progress.begun(1, 10)
    assert failed.wait(60)

    with pytest.raises(BrokenPipeError):
        progress.close()
    with pytest.raises(BrokenPipeError):
        progress.moved("a", 1)


def test_progress_of_nothing_writes_nothing() -> None:
    stream = io.StringIO()
    progress = ShownProgress(MovingLine(2), stream)
    progress.moved("a", 1)
    progress.close()

    assert stream.getvalue() == ""

"""Which lines have the priorities of systemd's journal, and which have none."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.holding import ROOT

from proxy.logs.destination import Destination, standard_error
from proxy.logs.forms import HumanForm, JsonForm
from proxy.logs.handler import LineHandler
from proxy.logs.priorities import WithPriorities


def stream_of(fd: int) -> dict[str, str]:
    """Return what systemd says to a process whose standard error is the journal."""
    status = os.fstat(fd)
    return {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}


def test_the_journal_is_known_by_device_and_inode(tmp_path: Path) -> None:
    """A variable that is inherited from a parent in the journal says nothing of a file."""
    ours, theirs = socket.socketpair()
    with ours, theirs, (tmp_path / "log").open("w") as file:
        assert standard_error(stream_of(ours.fileno()), ours.fileno()).is_journal
        assert not standard_error(stream_of(ours.fileno()), file.fileno()).is_journal
        assert not standard_error({}, ours.fileno()).is_journal
        assert not standard_error({"JOURNAL_STREAM": "nonsense"}, ours.fileno()).is_journal


@pytest.mark.parametrize(
    ("level", "priority"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
@pytest.mark.parametrize("form", [HumanForm, JsonForm])
def test_each_line_of_an_event_has_its_priority(
    level: int, priority: str, form: type[HumanForm | JsonForm]
) -> None:
    """The journal makes an entry of each."""
    try:
        raise ValueError("two\nlines")  # noqa: TRY301
    except ValueError:
        record = logging.LogRecord("x", level, __file__, 1, "blob.filled bytes=%d", (5,), sys.exc_info())
    lines = WithPriorities(form()).format(record).split("\n")
    assert (len(lines) == 1) == (form is JsonForm)
    assert lines[-1].endswith(("lines", '"}'))
    assert all(re.match(r"<[0-7]>[^<]", line) and line.startswith(priority) for line in lines)
    if form is JsonForm:
        assert json.loads(lines[0][3:])["bytes"] == 5


@pytest.mark.parametrize("arguments", [["serve", "--no-such"], ["serve", "--config", "/no/file"], ["pin"]])
def test_what_ends_a_command_is_an_error_in_the_journal(arguments: list[str], tmp_path: Path) -> None:
    """Its status is the same as elsewhere, and elsewhere it has no priority."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [sys.executable, "-m", "proxy", *arguments]
        elsewhere = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
        environment = {**os.environ, **stream_of(theirs.fileno()), "STATE_DIRECTORY": str(tmp_path)}
        done = subprocess.run(command, cwd=ROOT, check=False, stderr=theirs.fileno(), env=environment)
        theirs.close()
        lines = ours.makefile().read().splitlines()
    assert done.returncode == elsewhere.returncode != 0
    assert "Error: " in elsewhere.stderr
    assert "<3>" not in elsewhere.stderr
    assert [line for line in lines if not line.startswith("<3>")] == []
    assert lines[0].startswith("<3>Error: ")


def test_the_note_of_dropped_lines_is_a_warning() -> None:
    handler = LineHandler(HumanForm(), Destination(2, 4096, is_journal=True))
    line = handler._told_of_dropped(7)
    assert re.fullmatch(r"<4>[-\d]+ [:\d]+ WARNING log\.dropped lines=7\n", line)

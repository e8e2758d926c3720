"""What Python itself would say on standard error is said in lines of the log."""

import json
import os
import re
import socket
import subprocess
import sys

import pytest
from support.holding import ROOT

CRASH = """
import sys, threading, warnings
from proxy.logs.set_up import log_of_service
log_of_service("info", sys.argv[1])

class Forgotten:
    def __del__(self):
        raise ValueError("in passing")

def end():
    raise OSError("of a thread")

thread = threading.Thread(target=end, name="draw")
thread.start()
thread.join()
Forgotten()
warnings.warn("doubtful", RuntimeWarning)
raise KeyError("of the program")
"""


def said(form: str) -> list[str]:
    """Run a program in the journal that fails in every way; return the lines of its standard error."""
    ours, theirs = socket.socketpair()
    with ours:
        status = os.fstat(theirs.fileno())
        stream = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        command = [sys.executable, "-c", CRASH, form]
        with theirs:
            done = subprocess.run(
                command, cwd=ROOT, check=False, stderr=theirs.fileno(), env={**os.environ, **stream}
            )
        assert done.returncode == 1
        return ours.makefile().read().splitlines()


def test_every_crash_and_warning_is_an_object_in_json() -> None:
    events = [json.loads(line.partition(">")[2]) for line in said("json")]
    thread, passed, warning, program = events
    assert (thread["event"], thread["name"], thread["level"]) == ("thread.crashed", "draw", "error")
    assert thread["traceback"].endswith("OSError: of a thread")
    assert (passed["event"], passed["where"]) == ("error.passed_over", "Forgotten.__del__")
    assert passed["traceback"].endswith("ValueError: in passing")
    assert "RuntimeWarning: doubtful" in warning["event"]
    assert (program["event"], program["problem"]) == ("program.crashed", "KeyError")
    assert (program["level"], program["traceback"][-26:]) == ("critical", "KeyError: 'of the program'")


@pytest.mark.parametrize("form", ["human", "json"])
def test_every_line_has_its_priority(form: str) -> None:
    """So `journalctl -p err` shows what has ended the program."""
    lines = said(form)
    assert [line for line in lines if not re.match(r"<[2-4]>[^<]", line)] == []
    assert lines[-1].startswith("<2>")

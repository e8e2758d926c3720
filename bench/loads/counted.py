"""Requests that are counted and timed: one connection, one path, at a steady rate, through reloads.

Run as a program, this module is that client; it ends when its standard input does.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlsplit

from processes import HERE, LOAD_CPUS

_PATIENCE_S = 60.0


class Counted(NamedTuple):
    """What one client asked for, one request after the other."""

    answered: int
    """Requests whose reply came whole: the log has a line of each."""
    failed: int
    """Those of them whose status was not 200."""
    unanswered: int
    """Requests that may have been seen or not: their connection broke, as it does in a reload."""
    seconds: Sequence[float]
    """What each of the answered ones took."""


@contextlib.contextmanager
def counting(url: str, every_s: float) -> Iterator[Callable[[], Counted]]:
    """Ask for a URL from another process; what is yielded ends it and returns what came of it."""
    command = [sys.executable, "-m", "loads.counted", url, str(every_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as process:

        def end() -> Counted:
            told, _ = process.communicate()
            return Counted(*json.loads(told))

        yield end


def _ask_on_and_on(url: str, every_s: float) -> Counted:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port or 80, timeout=_PATIENCE_S)
    seconds: list[float] = []
    failed = unanswered = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        began_s = time.perf_counter()
        try:
            connection.request("GET", parts.path)
            reply = connection.getresponse()
            reply.read()
            failed += reply.status != 200
            seconds.append(time.perf_counter() - began_s)
        except (HTTPException, OSError):
            connection.close()
            unanswered += 1
        time.sleep(max(0.0, every_s - (time.perf_counter() - began_s)))
    return Counted(len(seconds), failed, unanswered, seconds)


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    print(json.dumps(_ask_on_and_on(sys.argv[1], float(sys.argv[2]))))

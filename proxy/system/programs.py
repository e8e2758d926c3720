"""Running a module of this program as a process of its own, which owns what large inputs cost.

json and others hold the interpreter's lock, and memory, that a serving process cannot spare.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from typing import Any

LONGEST_S = 600.0


def program(module: str, arguments: list[str]) -> dict[str, Any]:
    """Return how subprocess runs a module. Nothing in the arguments may come from outside."""
    # -P: modules from where this program has its own, never from the current directory.
    return {
        "args": [sys.executable, "-P", "-m", module, *arguments],
        "env": {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    }


def ask_program(module: str, arguments: list[str], *given: bytes, longest_s: float = LONGEST_S) -> Any:
    """Run a module, give it bytes by standard input, and return the JSON that it prints. Blocks.

    Raises OSError or SubprocessError.
    """
    how = program(module, arguments)
    with subprocess.Popen(**how, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as asked:
        timer = threading.Timer(longest_s, asked.kill)
        timer.start()
        try:
            assert asked.stdin is not None  # noqa: S101 - pipes, as told above
            assert asked.stdout is not None  # noqa: S101
            # It reads all before it says anything. What it does not take it tells by its end.
            with contextlib.suppress(BrokenPipeError), asked.stdin:
                for part in given:
                    asked.stdin.write(part)
            told = asked.stdout.read()
            status = asked.wait()
        finally:
            timer.cancel()
            asked.kill()
    if status:
        raise subprocess.CalledProcessError(status, asked.args)
    return json.loads(told)

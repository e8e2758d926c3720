"""Commands that run to their end: how long they take, and how much CPU."""

import os
import resource
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass

from processes import direct_environment

_ERROR_CHARACTERS = 2000


@dataclass(frozen=True)
class Run:
    """What a finished command took."""

    started_s: float
    """On the monotonic clock."""
    wall_s: float
    cpu_s: float
    """Of the process and of the children it waited for."""

    def figures(self) -> Mapping[str, float]:
        """Return them as a row has them."""
        return {"wall s": self.wall_s, "CPU s": self.cpu_s}


def run(command: list[str]) -> Run:
    """Run a command to its end, once all that earlier ones wrote has reached the disk."""
    os.sync()
    cpu_before_s = _children_cpu_s()
    started_s = time.monotonic()
    with started(command) as process:
        _, problems = process.communicate()
    wall_s = time.monotonic() - started_s
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{problems[-_ERROR_CHARACTERS:]}")
    return Run(started_s, wall_s, _children_cpu_s() - cpu_before_s)


def started(command: list[str]) -> subprocess.Popen[str]:
    """Start a command that asks the origin itself, whatever proxy the environment names."""
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=direct_environment()
    )


def _children_cpu_s() -> float:
    """Return the CPU seconds of all ended children so far, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime

"""wrk: many requests a second over connections that stay open."""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from processes import LOAD_CPUS, Server

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_COUNT = re.compile(r"(\d+) requests in")
_LATENCY = re.compile(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s|m)$", re.MULTILINE)
_TROUBLE = re.compile(r"^\s*(?:Non-2xx.*|Socket errors:.*)$", re.MULTILINE)
_MS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


class Report(NamedTuple):
    """What wrk tells of a run."""

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    trouble: str
    """Replies that were errors, connections that broke; nothing if all went well."""


def is_installed() -> bool:
    """Whether there is a wrk."""
    return shutil.which("wrk") is not None


def parse(text: str) -> Report:
    """Read the report that `wrk --latency` prints. Raises ValueError when it is none."""
    rate, count = _RATE.search(text), _COUNT.search(text)
    latencies = {share: float(value) * _MS[unit] for share, value, unit in _LATENCY.findall(text)}
    if rate is None or count is None or not latencies.keys() >= {"50", "99"}:
        raise ValueError(f"not a report of wrk:\n{text}")
    trouble = "; ".join(line.strip() for line in _TROUBLE.findall(text))
    return Report(int(count[1]), float(rate[1]), latencies["50"], latencies["99"], trouble)


def load(
    server: Server,
    path: str,
    seconds: float,
    *,
    connections: int = 32,
    is_pinned: bool = True,
    script: Path | None = None,
    arguments: Sequence[str] = (),
) -> Mapping[str, float]:
    """Ask a server for one path all the time, or as a Lua script says; return rate, CPU and latencies."""
    cpus = LOAD_CPUS if is_pinned else os.sched_getaffinity(0)
    command = ["taskset", "-c", ",".join(map(str, sorted(cpus)))]
    command += ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{round(seconds)}"]
    if script is not None:
        command += ["-s", str(script)]
    command += [server.base + path, "--", *arguments]
    before_s = server.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    cpu_s = server.cpu_s() - before_s
    report = parse(done.stdout + done.stderr)
    if report.trouble:
        raise SystemExit(f"{server.name} failed under load: {report.trouble}")
    return {
        "requests/s": report.requests_per_s,
        "CPU ms/1000": cpu_s / report.requests * 1e6,
        "p50 ms": report.p50_ms,
        "p99 ms": report.p99_ms,
    }

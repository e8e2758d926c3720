"""Small hits: requests a second and CPU for a 4 KiB item and a 160 KiB one, beside nginx static.

Needs nginx and wrk. Rounds alternate; medians. wrk is kept on one CPU; what else
runs on the machine shows in the figures.
"""

import argparse
import contextlib
import json
import re
import shutil
import statistics
import subprocess
import time

from clients import download
from servers import Server, nginx_static, ours
from stage import stage

KIB = 1024
_LEARNING_S = 1.0
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")


def main() -> None:
    """Run the bench as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of each round")
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    for tool in ("nginx", "wrk"):
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is not installed")
    with stage([4 * KIB, 160 * KIB]) as ready, contextlib.ExitStack() as stack:
        reference = stack.enter_context(nginx_static(ready.work / "nginx", ready.root))
        (ready.work / "ours").mkdir()
        subject = stack.enter_context(ours(ready.work / "ours", reference.base, ready.keyring))
        for item in ready.items:
            if download(subject.base + item.path, check=True).digest != item.digest:
                raise SystemExit("the proxy sent wrong bytes")
        time.sleep(_LEARNING_S)
        for item in ready.items:
            figures = {server.name: [] for server in (reference, subject)}
            for _ in range(options.rounds):
                for server in (reference, subject):
                    figures[server.name].append(load(server, item.path, options.seconds, options.connections))
            report(item.size, figures, reference.name)


def load(server: Server, path: str, seconds: int, connections: int) -> tuple[float, float]:
    """Return requests a second, and CPU milliseconds for a thousand requests."""
    before = server.cpu_s()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", server.base + path]
    told = subprocess.run(["taskset", "-c", "1", *command], capture_output=True, text=True, check=True).stdout
    found = _RATE.search(told)
    if found is None or "Non-2xx" in told:
        raise SystemExit(f"{server.name} failed under load:\n{told}")
    rate = float(found[1])
    return rate, (server.cpu_s() - before) / (rate * seconds) * 1e6


def report(size: int, figures: dict[str, list[tuple[float, float]]], reference: str) -> None:
    """Print one JSON line a server."""
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in figures.items()
    }
    for name, (rate, cpu_ms) in medians.items():
        line = {
            "bench": "small",
            "bytes": size,
            "server": name,
            "requests_s": round(rate),
            "cpu_ms_per_1000": round(cpu_ms, 2),
            "requests_ratio": round(rate / medians[reference][0], 3),
            "cpu_ratio": round(cpu_ms / medians[reference][1], 3),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    main()

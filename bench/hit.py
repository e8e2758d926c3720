"""Hits of one large item: bytes a second, and CPU seconds a GiB, beside other servers.

Rounds alternate between the servers, so that a machine that changes its speed
changes it for all. One JSON line a server: medians, and the ratio to nginx (or to
FileResponse where nginx is not installed).
"""

import argparse
import contextlib
import json
import statistics
from pathlib import Path

from clients import download
from servers import Server, file_response, has_nginx, nginx_static, ours
from stage import stage

MIB = 1024 * 1024
GIB = 1024 * MIB


def main() -> None:
    """Run the bench as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=256, help="size of the item")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with stage([options.mib * MIB]) as ready, contextlib.ExitStack() as stack:
        plain = stack.enter_context(file_response(ready.root))
        servers = [plain]
        if has_nginx():
            servers.append(stack.enter_context(nginx_static(ready.work / "nginx", ready.root)))
        path = ready.items[0].path
        (ready.work / "ours").mkdir()
        upstream = servers[-1].base
        subject = stack.enter_context(ours(ready.work / "ours", upstream, ready.keyring))
        servers.append(subject)
        warm_up = download(subject.base + path, check=True)
        if warm_up.digest != ready.items[0].digest:
            raise SystemExit("the proxy sent wrong bytes")
        figures = measure(servers, path, options.rounds)
    reference = figures["nginx static" if has_nginx() else plain.name]
    for name, figure in figures.items():
        ratios = {f"{key}_ratio": round(value / reference[key], 3) for key, value in figure.items()}
        print(json.dumps({"bench": "hit", "server": name, **figure, **ratios}))


def measure(servers: list[Server], path: str, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of each server, after one round that does not count."""
    rates: dict[str, list[float]] = {server.name: [] for server in servers}
    costs: dict[str, list[float]] = {server.name: [] for server in servers}
    for number in range(rounds + 1):
        for server in servers:
            before = server.cpu_s()
            got = [download(server.base + path) for _ in range(4)]
            cpu_s = server.cpu_s() - before
            if number:
                body_bytes = sum(one.body_bytes for one in got)
                rates[server.name].append(body_bytes / sum(one.seconds for one in got) / MIB)
                costs[server.name].append(cpu_s / (body_bytes / GIB))
    return {
        server.name: {
            "mib_per_s": round(statistics.median(rates[server.name]), 1),
            "cpu_s_per_gib": round(statistics.median(costs[server.name]), 4),
            "peak_rss_mib": round(server.peak_rss_bytes() / MIB, 1),
        }
        for server in servers
    }


if __name__ == "__main__":
    print(f"# {Path(__file__).name}: whole-process figures, loopback only")
    main()

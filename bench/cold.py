"""A cold fill: many items, several clients, an empty store; wall time and CPU beside nginx.

nginx stores what it gets; we verify every byte against its SHA-256, sync it to
disk and only then complete a reply. Each round starts with empty stores.
"""

import argparse
import contextlib
import json
import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from clients import download, download_all
from servers import Server, file_response, has_nginx, nginx_cache, nginx_static, ours
from stage import Stage, stage

MIB = 1024 * 1024


def main() -> None:
    """Run the bench as the command line asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=32)
    parser.add_argument("--mib", type=int, default=16, help="size of each item")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with stage([options.mib * MIB] * options.items) as ready, contextlib.ExitStack() as stack:
        make_origin = (
            nginx_static(ready.work / "origin", ready.root) if has_nginx() else file_response(ready.root)
        )
        origin = stack.enter_context(make_origin)
        figures = measure(ready, origin, options.clients, options.rounds)
    reference = figures.get("nginx proxy_cache", figures["origin itself"])
    for name, figure in figures.items():
        ratios = {f"{key}_ratio": round(value / reference[key], 3) for key, value in figure.items()}
        print(json.dumps({"bench": "cold", "server": name, **figure, **ratios}))


def measure(ready: Stage, origin: Server, clients: int, rounds: int) -> dict[str, dict[str, float]]:
    """Return the medians of each server."""

    def fresh(name: str, number: int) -> Path:
        work = ready.work / f"{name}-{number}"
        work.mkdir()
        return work

    subjects: dict[str, Callable[[int], AbstractContextManager[Server]]] = {
        "origin itself": lambda _: contextlib.nullcontext(origin),
        "sstream-proxy": lambda number: ours(fresh("ours", number), origin.base, ready.keyring),
    }
    if has_nginx():
        subjects["nginx proxy_cache"] = lambda number: nginx_cache(fresh("nginx", number), origin.base)
    results: dict[str, list[dict[str, float]]] = {name: [] for name in subjects}
    for number in range(rounds):
        for name, start in subjects.items():
            with start(number) as server:
                results[name].append(one_run(server, ready, clients))
    return {
        name: {key: round(statistics.median(run[key] for run in runs), 4) for key in runs[0]}
        for name, runs in results.items()
    }


def one_run(server: Server, ready: Stage, clients: int) -> dict[str, float]:
    """Fetch every item once through a server whose store is empty."""
    download(server.base + "streams/v1/index.sjson")
    before = server.cpu_s()
    downloads, wall_s = download_all([server.base + item.path for item in ready.items], clients)
    if [got.body_bytes for got in downloads] != [item.size for item in ready.items]:
        raise SystemExit(f"{server.name} sent bodies of wrong sizes")
    return {
        "wall_s": wall_s,
        "cpu_s": max(server.cpu_s() - before, 0.01),
        "first_byte_ms": statistics.median(got.first_byte_s for got in downloads) * 1000,
    }


if __name__ == "__main__":
    print(f"# {Path(__file__).name}: whole-process figures, loopback only")
    main()

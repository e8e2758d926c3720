"""Small hits: a 4 KiB item and a products list of some 160 KiB, over 32 connections that stay open.

One worker each, on one CPU; wrk on another. The list is what clients ask for
most often, the item stands for boot loaders and manifests. Each server runs as
it is installed, with its access log, and once more without one.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from figures import Bar, Effort, Finding, Rounds, alternate
from loads import wrk
from processes import Server
from servers.peers import EVERYBODY, hit_servers, pairs_of
from stage import PRODUCTS_PATH, stage

NEEDS = ("wrk",)
_ITEM_BYTES = 4096
_LISTED = 610
"""Further items in the list, which make it as long as it has to be."""
_BARS: Mapping[str, tuple[float, float | None]] = {"as installed": (1.2, 0.9), "without logs": (1.4, None)}
"""The least requests a second and the most CPU, each beside nginx static."""


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield requests a second, CPU and latencies of both."""
    with stage([_ITEM_BYTES], listed_only=_LISTED) as ready:
        item_path = ready.items[0].path
        list_bytes = (ready.root / PRODUCTS_PATH).stat().st_size
        cases = {
            "4 KiB item": item_path,
            f"{list_bytes // 1024} KiB products list": PRODUCTS_PATH,
        }
        with hit_servers(ready, [item_path, PRODUCTS_PATH], without_log=EVERYBODY) as servers:
            for case, path in cases.items():
                rounds = alternate(
                    list(servers), effort.rounds, partial(_one_run, servers, path, effort.seconds)
                )
                yield from rounds.rows(case, lambda figures: figures["requests/s"])
                yield from _bars(case, rounds)


def _bars(case: str, rounds: Rounds) -> Iterator[Bar]:
    for how, mine, theirs in pairs_of(rounds.servers):
        least, most_cpu = _BARS[how]
        ratio = rounds.ratio("requests/s", mine, theirs)
        yield Bar(f"{case}, {how}: requests/s to nginx static", ratio, at_least=least)
        cpu = rounds.ratio("CPU ms/1000", mine, theirs)
        yield Bar(f"{case}, {how}: CPU to nginx static", cpu, at_most=most_cpu)


def _one_run(
    servers: Mapping[str, Server], path: str, seconds: float, name: str, _: int
) -> Mapping[str, float]:
    return wrk.load(servers[name], path, seconds)

"""Small hits: a 4 KiB item and a products list of some 160 KiB, over 32 connections that stay open.

One worker each, on one CPU; wrk on another. The list is what clients ask for
most often, the item stands for boot loaders and manifests.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from figures import Bar, Effort, Finding, alternate
from loads import wrk
from processes import Server
from servers.peers import OURS, REFERENCE, hit_servers
from stage import PRODUCTS_PATH, stage

NEEDS = ("wrk",)
_ITEM_BYTES = 4096
_LISTED = 610
"""Further items in the list, which make it as long as it has to be."""


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield requests a second, CPU and latencies of both."""
    with stage([_ITEM_BYTES], listed_only=_LISTED) as ready:
        item_path = ready.items[0].path
        list_bytes = (ready.root / PRODUCTS_PATH).stat().st_size
        cases = {
            "4 KiB item": (item_path, 1.3),
            f"{list_bytes // 1024} KiB products list": (PRODUCTS_PATH, 0.9),
        }
        with hit_servers(ready, [item_path, PRODUCTS_PATH]) as servers:
            for case, (path, bar) in cases.items():
                rounds = alternate(
                    list(servers), effort.rounds, partial(_one_run, servers, path, effort.seconds)
                )
                yield from rounds.rows(case, lambda figures: figures["requests/s"])
                if REFERENCE in servers:
                    ratio = rounds.ratio("requests/s", OURS, REFERENCE)
                    yield Bar(f"{case}: requests/s to nginx static", ratio, at_least=bar)
                    yield Bar(f"{case}: CPU to nginx static", rounds.ratio("CPU ms/1000", OURS, REFERENCE))


def _one_run(
    servers: Mapping[str, Server], path: str, seconds: float, name: str, _: int
) -> Mapping[str, float]:
    return wrk.load(servers[name], path, seconds)

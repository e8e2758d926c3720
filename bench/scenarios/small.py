"""Small hits: a 4 KiB item and a products list of some 160 KiB, over 32 connections that stay open.

One worker each, on one CPU; the load on another. The list is what clients ask for
most often, the item stands for boot loaders and manifests. Each server runs as
it is installed, with its access log, and once more without one.

The item's load is wrk. wrk needs longer to read a list than a server to send it, so
that all servers would seem equally fast: the list's load has the kernel discard
what arrives, for each server alike.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from figures import Bar, Effort, Finding, Note, Rounds, alternate
from loads import discarding, wrk
from processes import Server
from servers.peers import EVERYBODY, hit_servers, pairs_of
from stage import PRODUCTS_PATH, stage


class _Load(Protocol):
    """Asks a server for one path all the time."""

    def __call__(self, *, server: Server, seconds: float) -> Mapping[str, float]:
        """Return rate, CPU and latencies."""


NEEDS = ("wrk",)
_ITEM_BYTES = 4096
_LISTED = 610
"""Further items in the list, which make it as long as it has to be."""
_BARS: Mapping[str, tuple[float, float | None]] = {"as installed": (1.2, 0.9), "without logs": (1.4, None)}
"""The least requests a second and the most CPU, each beside nginx static."""
_HOW_LOADED = (
    "The item's load is wrk; the list's has the kernel discard bodies, as wrk needs longer to read a list "
    "than a server to send it."
)


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield requests a second, CPU and latencies of both."""
    with stage([_ITEM_BYTES], listed_only=_LISTED) as ready:
        item_path = ready.items[0].path
        list_bytes = (ready.root / PRODUCTS_PATH).stat().st_size
        cases = {
            "4 KiB item": partial(wrk.load, path=item_path),
            f"{list_bytes // 1024} KiB products list": partial(discarding.load, path=PRODUCTS_PATH),
        }
        with hit_servers(ready, [item_path, PRODUCTS_PATH], without_log=EVERYBODY) as servers:
            for case, load in cases.items():
                rounds = alternate(
                    list(servers), effort.rounds, partial(_one_run, servers, load, effort.seconds)
                )
                yield from rounds.rows(case, lambda figures: figures["requests/s"])
                yield from _bars(case, rounds)
    yield Note(_HOW_LOADED)


def _bars(case: str, rounds: Rounds) -> Iterator[Bar]:
    for how, mine, theirs in pairs_of(rounds.servers):
        least, most_cpu = _BARS[how]
        ratio = rounds.ratio("requests/s", mine, theirs)
        yield Bar(f"{case}, {how}: requests/s to nginx static", ratio, at_least=least)
        cpu = rounds.ratio("CPU ms/1000", mine, theirs)
        yield Bar(f"{case}, {how}: CPU to nginx static", cpu, at_most=most_cpu)


def _one_run(
    servers: Mapping[str, Server], load: _Load, seconds: float, name: str, _: int
) -> Mapping[str, float]:
    return load(server=servers[name], seconds=seconds)

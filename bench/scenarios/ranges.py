"""Ranges: 64 KiB from random places of a 256 MiB item, over 32 connections that stay open.

The places are the same for all servers and in every run. Only servers of files
take part: caches would serve from memory what they may not have kept in parts.
nginx runs without tcp_nopush here: with it, the end of each range waits some
40 ms for the client's delayed acknowledgement, and it serves a fifth as many.
Each server runs as it is installed but for that, with its access log; nginx and ours once more
without one.
"""

from collections.abc import Iterator
from functools import partial

from figures import Bar, Effort, Finding, alternate
from loads import wrk
from processes import HERE
from servers.names import OURS, REFERENCE
from servers.nginx import NO_PUSH
from servers.peers import hit_servers, pairs_of
from stage import stage

NEEDS = ("wrk",)
_ITEM_BYTES = 256 * 1024 * 1024
_RANGE_BYTES = 64 * 1024
_SEED = 20250718


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield requests a second, CPU and latencies."""
    with stage([effort.scaled(_ITEM_BYTES)]) as ready:
        [item] = ready.items
        arguments = [str(item.size), str(_RANGE_BYTES), str(_SEED)]
        only = {REFERENCE, OURS, "Apache static"}
        with hit_servers(ready, [item.path], only=only, nginx_switches=[NO_PUSH]) as servers:
            rounds = alternate(
                list(servers),
                effort.rounds,
                lambda name, _: wrk.load(
                    servers[name],
                    item.path,
                    effort.seconds,
                    script=HERE / "loads" / "ranges.lua",
                    arguments=arguments,
                ),
            )
            yield from rounds.rows("64 KiB ranges", lambda figures: figures["requests/s"])
            for how, mine, theirs in pairs_of(rounds.servers):
                to = partial(rounds.ratio, subject=mine, reference=theirs)
                yield Bar(f"{how}: requests/s to nginx static", to("requests/s"), at_least=1.0)
                yield Bar(f"{how}: CPU to nginx static", to("CPU ms/1000"), at_most=1.05)

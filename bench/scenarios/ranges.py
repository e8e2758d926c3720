"""Ranges: 64 KiB from random places of a 256 MiB item, over 32 connections that stay open.

The places are the same for all servers and in every run. Only servers of files
take part: caches would serve from memory what they may not have kept in parts.
nginx runs without tcp_nopush here: with it, the end of each range waits some
40 ms for the client's delayed acknowledgement, and it serves a fifth as many.
"""

from collections.abc import Iterator

from figures import Bar, Effort, Finding, alternate
from loads import wrk
from processes import HERE
from servers.peers import OURS, REFERENCE, hit_servers
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
        with hit_servers(ready, [item.path], only=only, nopush=False) as servers:
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
            if REFERENCE in servers:
                ratio = rounds.ratio("requests/s", OURS, REFERENCE)
                yield Bar("requests/s to nginx static", ratio, at_least=0.7)
                yield Bar("CPU to nginx static", rounds.ratio("CPU ms/1000", OURS, REFERENCE))

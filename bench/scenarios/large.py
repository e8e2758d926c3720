"""Large hits: one item of 256 MiB, one client, again and again.

One worker each, on one CPU. The client, on another, lets the kernel throw the
bytes away, so that what is measured is the server.
"""

from collections.abc import Iterator, Mapping
from functools import partial

from clients import download_all, expect_sizes
from figures import Bar, Effort, Finding, alternate
from processes import Server
from servers.peers import OURS, REFERENCE, hit_servers
from stage import stage

MIB = 1024 * 1024
GIB = 1024 * MIB
_ITEM_BYTES = 256 * MIB
_DOWNLOADS = 6


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield throughput and CPU of all servers."""
    with stage([effort.scaled(_ITEM_BYTES)]) as ready:
        [item] = ready.items
        with hit_servers(ready, [item.path]) as servers:
            rounds = alternate(
                list(servers),
                effort.rounds,
                lambda name, _: fetch(servers[name], item.path, item.size),
            )
            yield from rounds.rows("256 MiB item", lambda figures: figures["MiB/s"])
            if REFERENCE in servers:
                to = partial(rounds.ratio, subject=OURS, reference=REFERENCE)
                yield Bar("throughput to nginx static", to("MiB/s"), at_least=1.0)
                yield Bar("CPU per GiB to nginx static", to("CPU s/GiB"), at_most=1.05)


def fetch(server: Server, path: str, size_bytes: int) -> Mapping[str, float]:
    """Fetch an item some times, one after the other; return throughput and CPU."""
    before_s = server.cpu_s()
    downloads, _ = download_all([server.base + path] * _DOWNLOADS)
    cpu_s = server.cpu_s() - before_s
    expect_sizes(downloads, [size_bytes] * _DOWNLOADS, server.name)
    body_bytes = size_bytes * _DOWNLOADS
    return {
        "MiB/s": body_bytes / sum(one.seconds for one in downloads) / MIB,
        "CPU s/GiB": cpu_s / (body_bytes / GIB),
        "memory MiB": server.memory_bytes() / MIB,
    }

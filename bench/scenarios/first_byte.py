"""The first byte of a cold item, against asking the origin directly: many items of 1 MiB, one by one.

Each is asked for once, on a new connection. Direct and through the servers take
turns, so that each item is asked for by all within some milliseconds.
"""

import os
import statistics
from collections.abc import Iterator
from contextlib import ExitStack

from clients import download, expect_sizes
from figures import Bar, Effort, Finding, Row, percentile
from processes import LOAD_CPUS
from servers import has_nginx, nginx_cache, ours
from servers.names import OURS
from servers.peers import origin_of
from stage import INDEX_PATH, stage

BESIDE = ("nginx",)
_ITEM_BYTES = 1024 * 1024
_ITEMS_A_ROUND = 60


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the medians, and how much later ours is."""
    sizes_bytes = [_ITEM_BYTES] * effort.scaled(_ITEMS_A_ROUND * effort.rounds)
    with stage(sizes_bytes) as ready, origin_of(ready) as origin, ExitStack() as stack:
        servers = {"the origin itself": origin}
        servers[OURS] = stack.enter_context(ours(ready.folder("ours"), [origin.base], ready.keyring))
        if has_nginx():
            cache = nginx_cache(ready.folder("nginx-cache"), origin.base, workers=None)
            servers["nginx proxy_cache"] = stack.enter_context(cache)
        firsts_ms: dict[str, list[float]] = {name: [] for name in servers}
        for server in servers.values():
            download(server.base + INDEX_PATH)
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, LOAD_CPUS)
        try:
            for item in ready.items:
                for name, server in servers.items():
                    got = download(server.base + item.path)
                    expect_sizes([got], [item.size], name)
                    firsts_ms[name].append(got.first_byte_s * 1000)
        finally:
            os.sched_setaffinity(0, everywhere)
    for name, values in firsts_ms.items():
        figures = {"median ms": statistics.median(values), "p99 ms": percentile(values, 0.99)}
        yield Row("first byte of 1 MiB", name, figures)
    later_ms = [
        mine - direct for mine, direct in zip(firsts_ms[OURS], firsts_ms["the origin itself"], strict=True)
    ]
    yield Bar("ms later than from the origin, median", statistics.median(later_ms), at_most=3)

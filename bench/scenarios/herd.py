"""A herd: 200 clients ask for one cold item of 64 MiB at once, beside one client alone.

The origin counts: one fill must serve them all. Over a link of 200 Mbit/s the
200 should be done when one would be. With an origin as fast as loopback they
share that and the CPUs: what nginx takes for sending them the same from a file,
with nothing to fetch, tells how much of the time is that.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

from clients import download, download_all, expect_sizes
from figures import Bar, Effort, Finding, Rounds
from processes import Server
from servers import Pace, SlowOrigin, has_nginx, nginx_static, ours, slow_origin
from servers.names import OURS
from stage import INDEX_PATH, stage
from support.tree import TreeItem

BESIDE = ("nginx",)
MIB = 1024 * 1024
_ITEM_BYTES = 64 * MIB
_CLIENTS = 200
_LINK_BYTES_PER_S = 25_000_000
_ALONE = f"{OURS}, one client"
_REFERENCE = "nginx static, from a file"


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield wall times, and how often the origin was asked, over a link and over loopback."""
    yield from _herd(effort, "over 200 Mbit/s", Pace(total_bytes_per_s=_LINK_BYTES_PER_S))
    yield from _herd(effort, "over loopback", Pace())


def _herd(effort: Effort, case: str, pace: Pace) -> Iterator[Finding]:
    clients = effort.scaled(_CLIENTS)
    item_bytes = effort.scaled(_ITEM_BYTES)
    rounds = Rounds()
    herd = f"{OURS}, {clients} clients"
    with (
        stage([item_bytes] * effort.rounds * 2) as ready,
        slow_origin(ready.root, pace) as origin,
        ours(ready.folder("ours"), [origin.base], ready.keyring) as server,
        ExitStack() as stack,
    ):
        download(server.base + INDEX_PATH)
        if has_nginx():
            reference = stack.enter_context(nginx_static(ready.folder("nginx"), ready.root, workers=None))
        for number in range(effort.rounds):
            alone, together = ready.items[2 * number : 2 * number + 2]
            rounds.add(_ALONE, _one_run(server, origin, alone, 1))
            rounds.add(herd, _one_run(server, origin, together, clients))
            if has_nginx():
                rounds.add(_REFERENCE, _one_run(reference, origin, together, clients))
    yield from rounds.rows(f"one item of {item_bytes // MIB} MiB {case}")
    yield Bar(f"{case}: upstream GETs, worst round", rounds.worst(herd, "upstream GETs"), at_most=1)
    yield Bar(f"{case}: wall time to one client alone", rounds.ratio("wall s", herd, _ALONE), at_most=2)
    if has_nginx():
        yield Bar(f"{case}: wall time to nginx from a file", rounds.ratio("wall s", herd, _REFERENCE))


def _one_run(server: Server, origin: SlowOrigin, item: TreeItem, clients: int) -> Mapping[str, float]:
    began_s = time.monotonic()
    downloads, wall_s = download_all([server.base + item.path] * clients, clients)
    expect_sizes(downloads, [item.size] * clients, server.name)
    gets = sum(one.path == item.path for one in origin.requests(began_s))
    return {
        "wall s": wall_s,
        "upstream GETs": gets,
        "MiB/s in all": item.size * clients / wall_s / MIB,
    }

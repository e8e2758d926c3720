"""A herd: 200 clients ask for one cold item of 64 MiB at once, beside one client alone.

The origin counts: one fill must serve them all. The 200 share the machine's
loopback and its CPUs, so they may take twice as long as the one.
"""

from collections.abc import Iterator, Mapping

from clients import download, download_all, expect_sizes
from figures import Bar, Effort, Finding, Rounds
from servers import Pace, SlowOrigin, ours, slow_origin
from servers.peers import OURS
from stage import INDEX_PATH, Stage, stage

MIB = 1024 * 1024
_ITEM_BYTES = 64 * MIB
_CLIENTS = 200
_ALONE = f"{OURS}, one client"


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield wall times, and how often the origin was asked."""
    clients = effort.scaled(_CLIENTS)
    item_bytes = effort.scaled(_ITEM_BYTES)
    rounds = Rounds()
    herd = f"{OURS}, {clients} clients"
    with (
        stage([item_bytes] * effort.rounds * 2) as ready,
        slow_origin(ready.root, Pace()) as origin,
        ours(ready.folder("ours"), origin.base, ready.keyring) as server,
    ):
        download(server.base + INDEX_PATH)
        for number in range(effort.rounds):
            rounds.add(_ALONE, _one_run(ready, origin, server.base, 2 * number, 1))
            rounds.add(herd, _one_run(ready, origin, server.base, 2 * number + 1, clients))
    yield from rounds.rows("one cold item of 64 MiB")
    yield Bar("upstream GETs for the item, worst round", rounds.worst(herd, "upstream GETs"), at_most=1)
    yield Bar("wall time to one client alone", rounds.ratio("wall s", herd, _ALONE), at_most=2)


def _one_run(ready: Stage, origin: SlowOrigin, base: str, number: int, clients: int) -> Mapping[str, float]:
    item = ready.items[number]
    downloads, wall_s = download_all([base + item.path] * clients, clients)
    expect_sizes(downloads, [item.size] * clients, OURS)
    gets = sum(one.path == item.path for one in origin.requests())
    return {
        "wall s": wall_s,
        "upstream GETs": gets,
        "MiB/s in all": item.size * clients / wall_s / MIB,
    }

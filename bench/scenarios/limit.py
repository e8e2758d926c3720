"""A cap on all that comes from upstream: 200 Mbit/s, before an origin as fast as loopback.

  clients   8 clients and 16 cold items over all workers, with `upstream.limit`
  mirror    the same with the limit of the mirror alone
  prefetch  a client wants an item while a `prefetch` command on the same data runs

Rates are of the items' bytes, from the first request for one at the origin until the
last client, or the command, has everything: an origin that has sent is not yet one
whose bytes were taken, for sockets hold some megabytes each.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from clients import download, download_all, expect_sizes
from figures import Bar, Effort, Finding, Rounds
from processes import direct_environment
from remarks import Switch
from servers import Pace, Seen, SlowOrigin, ours, slow_origin
from servers.names import OURS
from stage import INDEX_PATH, Stage, stage

MB = 1_000_000
_LIMIT_BYTES_PER_S = 25 * MB
_REASON = "what is measured"
_LIMIT = Switch("upstream.limit", '"200 Mbit/s"', '"unlimited"', _REASON)
_MIRROR_LIMIT = Switch("mirror.limit", '"200 Mbit/s"', '"unlimited"', _REASON)
_CLIENTS = 8
_FETCHED_ITEMS = 16
_ITEM_BYTES = 16 * MB
_PREFETCHED_ITEMS = 24
_PREFETCH_RUNS_S = 1.0
_MOST_ROUNDS = 2


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield rates against the limit."""
    rounds = min(effort.rounds, _MOST_ROUNDS)
    sizes_bytes = [effort.scaled(_ITEM_BYTES)] * _PREFETCHED_ITEMS
    with stage(sizes_bytes) as ready, slow_origin(ready.root, Pace()) as origin:
        for case, switch in (("clients", _LIMIT), ("mirror", _MIRROR_LIMIT)):
            found = Rounds()
            for _ in range(rounds):
                found.add(OURS, _clients(ready, origin, switch))
            yield from found.rows(f"{_CLIENTS} clients, {switch.setting}")
            share = found.median(OURS, "of the limit")
            yield Bar(f"{case}: rate to the limit", share, at_least=0.9, at_most=1.05)
        found = Rounds()
        for _ in range(rounds):
            found.add(OURS, _beside_a_prefetch(ready, origin))
        yield from found.rows("a client beside a prefetch")
        share = found.median(OURS, "of the limit, all")
        yield Bar("prefetch: rate of both to the limit", share, at_most=1.05)
        share = found.median(OURS, "of the limit, the client")
        yield Bar("prefetch: rate of the client to the limit", share, at_least=0.8)


def _clients(ready: Stage, origin: SlowOrigin, switch: Switch) -> Mapping[str, float]:
    """Let all clients fetch at a time."""
    items = ready.items[:_FETCHED_ITEMS]
    began_s = time.monotonic()
    with _folder(ready) as work, ours(work, [origin.base], ready.keyring, options=[switch]) as server:
        download(server.base + INDEX_PATH)
        downloads, wall_s = download_all([server.base + item.path for item in items], _CLIENTS)
        ended_s = time.monotonic()
    expect_sizes(downloads, [item.size for item in items], OURS)
    return {"wall s": wall_s, "of the limit": _share(origin.requests(began_s), ended_s)}


def _beside_a_prefetch(ready: Stage, origin: SlowOrigin) -> Mapping[str, float]:
    """Let a client fetch the item that a prefetch comes to last."""
    item = ready.items[-1]
    began_s = time.monotonic()
    with _folder(ready) as work, ours(work, [origin.base], ready.keyring, options=[_LIMIT]) as server:
        download(server.base + INDEX_PATH)
        command = [str(Path(sys.executable).with_name("sstream-proxy")), "prefetch"]
        with subprocess.Popen(
            [*command, "--config", str(work / "config.toml")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=direct_environment(),
        ) as prefetch:
            time.sleep(_PREFETCH_RUNS_S)
            downloads, wall_s = download_all([server.base + item.path])
            prefetch.wait()
        ended_s = time.monotonic()
    expect_sizes(downloads, [item.size], OURS)
    return {
        "client's wall s": wall_s,
        "of the limit, the client": item.size / wall_s / _LIMIT_BYTES_PER_S,
        "of the limit, all": _share(origin.requests(began_s), ended_s),
    }


def _share(seen: list[Seen], ended_s: float) -> float:
    """Return how much of the limit was used, from the first request for an item to the end."""
    items = [one for one in seen if not one.path.startswith("streams/")]
    span_s = ended_s - min(one.came_s for one in items)
    return sum(one.sent_bytes for one in items) / span_s / _LIMIT_BYTES_PER_S


@contextmanager
def _folder(ready: Stage) -> Iterator[Path]:
    """Make a folder for one run, and remove it."""
    with tempfile.TemporaryDirectory(dir=ready.work) as folder:
        yield Path(folder)

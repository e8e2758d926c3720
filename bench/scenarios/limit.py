"""A cap on all that comes from upstream: 200 Mbit/s, before an origin as fast as loopback.

  clients   8 clients and 8 cold items over all workers, with `upstream.limit`
  mirror    the same with the limit of the mirror alone
  prefetch  a client wants an item while a `prefetch` command on the same data runs

What came is counted at the origin, from the first request for an item to the last
byte of one.
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
_ITEM_BYTES = 16 * MB
_PREFETCHED_ITEMS = 24
_PREFETCH_RUNS_S = 1.0
_MOST_ROUNDS = 3


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
    items = ready.items[:_CLIENTS]
    began_s = time.monotonic()
    with _folder(ready) as work, ours(work, [origin.base], ready.keyring, options=[switch]) as server:
        download(server.base + INDEX_PATH)
        downloads, wall_s = download_all([server.base + item.path for item in items], _CLIENTS)
    expect_sizes(downloads, [item.size for item in items], OURS)
    return {"wall s": wall_s, "of the limit": _rate(origin.requests(began_s)) / _LIMIT_BYTES_PER_S}


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
    expect_sizes(downloads, [item.size], OURS)
    return {
        "client's wall s": wall_s,
        "of the limit, the client": item.size / wall_s / _LIMIT_BYTES_PER_S,
        "of the limit, all": _rate(origin.requests(began_s)) / _LIMIT_BYTES_PER_S,
    }


def _rate(seen: list[Seen]) -> float:
    """Return the bytes a second from the first request for an item to the last byte of one."""
    items = [one for one in seen if not one.path.startswith("streams/")]
    span_s = max(one.ended_s for one in items) - min(one.came_s for one in items)
    return sum(one.sent_bytes for one in items) / span_s


@contextmanager
def _folder(ready: Stage) -> Iterator[Path]:
    """Make a folder for one run, and remove it."""
    with tempfile.TemporaryDirectory(dir=ready.work) as folder:
        yield Path(folder)

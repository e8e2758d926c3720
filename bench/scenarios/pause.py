"""The longest pause of the event loop while a products list of 20 MB is fetched, verified and parsed.

A probe asks for a 4 KiB item every 2 ms, first while nothing happens, then while
the origin publishes a new list and the proxy adopts it.
"""

import time
from collections.abc import Iterator, Mapping
from urllib.request import ProxyHandler, build_opener

from figures import Bar, Effort, Finding, Rounds
from loads.probe import probing
from processes import Server
from remarks import Switch
from servers import ONE_WORKER, ours
from servers.names import OURS
from servers.peers import check_digest, origin_of
from stage import INDEX_PATH, PRODUCTS_PATH, Stage, stage

_LISTED = 70_000
_PROBE_EVERY_S = 0.002
_QUIET_S = 3.0
_POLL_S = 0.1
_AFTERWARDS_S = 1.0
_LONGEST_S = 120.0
_OPTIONS = (
    ONE_WORKER,
    Switch("freshness.fresh_for", '"500ms"', '"5m"', "a new list is to be seen at once"),
)


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield latencies without and with a refresh."""
    rounds = Rounds()
    with stage([4096], listed_only=effort.scaled(_LISTED)) as ready, origin_of(ready) as origin:
        list_mb = (ready.root / PRODUCTS_PATH).stat().st_size / 1e6
        [item] = ready.items
        with ours(ready.folder("ours"), [origin.base], ready.keyring, options=_OPTIONS) as server:
            check_digest(server, item.path, item.digest)
            for _ in range(effort.rounds):
                with probing(server.base + item.path, _PROBE_EVERY_S) as end:
                    time.sleep(_QUIET_S)
                    rounds.add(f"{OURS}, at rest", end().figures())
                rounds.add(f"{OURS}, refreshing", _refresh(ready, server, item.path))
    yield from rounds.rows(f"a list of {list_mb:.1f} MB")
    worst_ms = rounds.median(f"{OURS}, refreshing", "lag worst ms")
    yield Bar("longest wait while refreshing, ms", worst_ms, at_most=50)
    yield Bar("... and at rest", rounds.median(f"{OURS}, at rest", "lag worst ms"))


def _refresh(ready: Stage, server: Server, path: str) -> Mapping[str, float]:
    """Publish a new generation, probe until the proxy serves it and a while longer."""
    ready.tree.publish()
    with probing(server.base + path, _PROBE_EVERY_S) as end:
        deadline = time.monotonic() + _LONGEST_S
        while not _is_adopted(server, ready.tree.document()["updated"]):
            if time.monotonic() > deadline:
                raise SystemExit("the proxy did not adopt the new list")
            time.sleep(_POLL_S)
        time.sleep(_AFTERWARDS_S)
        return end().figures()


def _is_adopted(server: Server, updated: str) -> bool:
    """Whether the index that the proxy serves now is the one made then."""
    opener = build_opener(ProxyHandler({}))
    with opener.open(server.base + INDEX_PATH, timeout=60) as reply:
        return f'"updated": "{updated}"'.encode() in reply.read()

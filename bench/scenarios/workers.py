"""2 workers against 1 on small hits, and nginx with 2 against 1, as the ceiling of this machine.

The load takes a CPU, too: with two CPUs in all, no server can double what it
does, and nginx shows how much there was to be had. Nothing is kept to one CPU.
"""

import os
import time
from collections.abc import Iterator
from contextlib import ExitStack

from figures import Bar, Effort, Finding, Note, alternate
from loads import wrk
from processes import Server
from remarks import Switch
from servers import has_nginx, nginx_static, ours
from servers.names import OURS
from servers.peers import check_digest, origin_of
from stage import stage

NEEDS = ("wrk",)
BESIDE = ("nginx",)
_CONNECTIONS = 64
_LEARNING_S = 1.5
_FREE_CPUS = 3


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield requests a second of both with one worker and with two."""
    with stage([4096]) as ready, origin_of(ready) as origin, ExitStack() as stack:
        [item] = ready.items
        servers: dict[str, Server] = {}
        for workers in (1, 2):
            if has_nginx():
                work = ready.folder(f"nginx-{workers}")
                servers[f"nginx static, {workers}"] = stack.enter_context(
                    nginx_static(work, ready.root, workers=workers)
                )
            work = ready.folder(f"ours-{workers}")
            options = [Switch("workers", str(workers), '"auto"', "what is compared")]
            server = stack.enter_context(ours(work, [origin.base], ready.keyring, options=options))
            servers[f"{OURS}, {workers}"] = server
            check_digest(server, item.path, item.digest)
        time.sleep(_LEARNING_S)
        rounds = alternate(
            list(servers),
            effort.rounds,
            lambda name, _: wrk.load(
                servers[name], item.path, effort.seconds, connections=_CONNECTIONS, is_pinned=False
            ),
        )
    yield from rounds.rows("4 KiB item", lambda figures: figures["requests/s"])
    ratio = rounds.ratio("requests/s", f"{OURS}, 2", f"{OURS}, 1")
    cpus = len(os.sched_getaffinity(0))
    if cpus < _FREE_CPUS:
        yield Note(f"Only {cpus} CPUs: the bar of 1.7 is meant for 2 beside the one that the load takes.")
        yield Bar("2 workers to 1, requests/s", ratio)
    else:
        yield Bar("2 workers to 1, requests/s", ratio, at_least=1.7)
    if {"nginx static, 1", "nginx static, 2"} <= set(rounds.servers):
        yield Bar("nginx: 2 workers to 1", rounds.ratio("requests/s", "nginx static, 2", "nginx static, 1"))

"""1,000 slow clients, each reading a large item at 1 MiB/s: memory for each, and who has to wait.

The item is in the store. While they read, a probe asks for a 4 KiB item every
5 ms over a connection of its own: what it waits is how late the event loop
comes round. Memory is that of the whole process tree (PSS), more than before.
One worker on one CPU, the load and the probe on another; what the clients
reached in all is told, since 1,000 MiB/s is much for two CPUs.
"""

import time
from collections.abc import Iterator, Mapping

from figures import Bar, Effort, Finding, alternate
from loads.paced import slow_clients
from loads.probe import probing
from processes import Server
from remarks import Switch
from servers.names import OURS, REFERENCE
from servers.peers import hit_servers
from stage import stage

KIB = 1024
MIB = 1024 * KIB
_CLIENTS = 1000
_BYTES_PER_S = MIB
_ITEM_BYTES = 256 * MIB
_SETTLE_S = 2.0
_ROUNDS_S = 8.0
_MOST_ROUNDS = 3
_ONE_ADDRESS = Switch(
    "clients.connections_per_client", "10000", "1000", "all clients of a bench have one address"
)


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield memory and lag of both."""
    clients = effort.scaled(_CLIENTS)
    with stage([_ITEM_BYTES, 4 * KIB]) as ready:
        large, small = (item.path for item in ready.items)
        with hit_servers(
            ready, [large, small], only={REFERENCE, OURS}, without_log=(), our_switches=[_ONE_ADDRESS]
        ) as servers:
            rounds = alternate(
                list(servers),
                min(effort.rounds, _MOST_ROUNDS),
                lambda name, _: _one_run(servers[name], large, small, clients, effort),
            )
    yield from rounds.rows(f"{clients} clients")
    yield Bar("memory per client, KiB", rounds.median(OURS, "KiB/client"), at_most=64)
    yield Bar("event-loop lag p99, ms", rounds.median(OURS, "lag p99 ms"), at_most=20)


def _one_run(server: Server, large: str, small: str, clients: int, effort: Effort) -> Mapping[str, float]:
    before_bytes = server.memory_bytes()
    with slow_clients(server.base + large, clients, _BYTES_PER_S) as end_clients:
        time.sleep(_SETTLE_S)
        before_s, began = server.cpu_s(), time.monotonic()
        with probing(server.base + small) as end_probe:
            time.sleep(max(effort.seconds, _ROUNDS_S * effort.share))
            grown_bytes = server.memory_bytes() - before_bytes
            cpu_share = (server.cpu_s() - before_s) / (time.monotonic() - began)
            latencies = end_probe()
        reached_bytes_per_s = end_clients()
    return {
        "KiB/client": grown_bytes / clients / KIB,
        **latencies.figures(),
        "MiB/s in all": reached_bytes_per_s / MIB,
        "CPU %": cpu_share * 100,
    }

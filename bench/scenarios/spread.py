"""How connections are spread: 32 at once over 2 workers, ours and nginx's.

Each connection asks for a 4 KiB item and stays open; then the open connections of
each worker are counted (/proc/PID/fd and /proc/net/tcp). The bar is on the worst
round: chance alone would give one worker 20 or more of 32 in every fifth.
"""

import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

from figures import Bar, Effort, Finding, alternate
from processes import Server
from remarks import Switch
from servers import has_nginx, nginx_static, ours
from servers.names import OURS, REFERENCE
from servers.peers import check_digest, origin_of
from stage import stage

BESIDE = ("nginx",)
_CONNECTIONS = 32
_WORKERS = 2
_ROUNDS = 4
"""For each round of other scenarios: these are short."""
_PATIENCE_S = 10.0
_ESTABLISHED = "01"


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the shares of the busiest worker."""
    with stage([4096]) as ready, origin_of(ready) as origin, ExitStack() as stack:
        [item] = ready.items
        options = [Switch("workers", str(_WORKERS), '"auto"', "what is measured")]
        mine = ours(ready.folder("ours"), [origin.base], ready.keyring, options=options)
        servers = {OURS: stack.enter_context(mine)}
        if has_nginx():
            nginx = nginx_static(ready.folder("nginx"), ready.root, workers=_WORKERS)
            servers[REFERENCE] = stack.enter_context(nginx)
        for server in servers.values():
            check_digest(server, item.path, item.digest)
        rounds = alternate(
            list(servers), _ROUNDS * effort.rounds, lambda name, _: _one_run(servers[name], item.path)
        )
    yield from rounds.rows(f"{_CONNECTIONS} connections over {_WORKERS} workers")
    for name in rounds.servers:
        worst = rounds.worst(name, "share of the busiest worker")
        at_most = 0.6 if name == OURS else None
        yield Bar(f"{name}: share of the busiest worker, worst round", worst, at_most=at_most)


def _one_run(server: Server, path: str) -> Mapping[str, float]:
    parts = urlsplit(server.base + path)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    with ExitStack() as stack:
        ones = [
            stack.enter_context(
                socket.create_connection((parts.hostname or "", parts.port or 80), _PATIENCE_S)
            )
            for _ in range(_CONNECTIONS)
        ]
        for one in ones:
            one.sendall(request)
        for one in ones:
            if not one.recv(65536).startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{server.name} refused a connection")
        held = _connections(server, parts.port or 80)
    if sum(held.values()) != _CONNECTIONS:
        raise SystemExit(f"{server.name} holds {sum(held.values())} connections of {_CONNECTIONS}")
    return {
        "share of the busiest worker": max(held.values()) / _CONNECTIONS,
        "workers with connections": len(held),
    }


def _connections(server: Server, port: int) -> Counter[int]:
    """Return how many open connections each process of a server has at its port."""
    inodes = _established(port)
    held: Counter[int] = Counter()
    for pid in server.pids():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):
                held[pid] += str(link.readlink()) in inodes
    return +held


def _established(port: int) -> set[str]:
    """Return the sockets of connections that a local port accepted, as links below /proc/PID/fd name them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    local = f":{port:04X}"
    return {f"socket:[{row[9]}]" for row in rows if row[1].endswith(local) and row[3] == _ESTABLISHED}

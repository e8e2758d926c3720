"""Hits over TLS beside nginx: one large item, and a 4 KiB item over 32 connections that stay open.

Measured without a bar. One worker each, on one CPU; the client decrypts on another.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from figures import Bar, Effort, Finding, alternate
from loads import wrk
from processes import SERVER_CPUS, Server
from servers import has_nginx, nginx_static, ours
from servers.peers import OURS, check_digest, origin_of
from stage import stage

from scenarios.large import fetch

NEEDS = ("wrk",)
MIB = 1024 * 1024
_LARGE_BYTES = 256 * MIB
_LEARNING_S = 1.5
_REFERENCE = "nginx static"


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the figures of both."""
    with (
        stage([effort.scaled(_LARGE_BYTES), 4096]) as ready,
        origin_of(ready) as origin,
        ExitStack() as stack,
    ):
        large, small = ready.items
        certificate = ready.certificate()
        servers: dict[str, Server] = {}
        if has_nginx():
            work = ready.folder("nginx-tls")
            servers[_REFERENCE] = stack.enter_context(nginx_static(work, ready.root, certificate=certificate))
        options = f'[tls]\ncertificate = "{certificate.chain}"\nkey = "{certificate.key}"'
        servers[OURS] = stack.enter_context(
            ours(ready.folder("ours"), origin.base, ready.keyring, options=options, scheme="https")
        )
        for server in servers.values():
            for item in ready.items:
                check_digest(server, item.path, item.digest)
            server.pin(SERVER_CPUS)
        time.sleep(_LEARNING_S)
        names = list(servers)
        whole = alternate(names, effort.rounds, lambda name, _: fetch(servers[name], large.path, large.size))
        yield from whole.rows("256 MiB item", lambda figures: figures["MiB/s"])
        many = alternate(
            names, effort.rounds, lambda name, _: wrk.load(servers[name], small.path, effort.seconds)
        )
        yield from many.rows("4 KiB item", lambda figures: figures["requests/s"])
    if _REFERENCE in servers:
        yield Bar("256 MiB: throughput to nginx", whole.ratio("MiB/s", OURS, _REFERENCE))
        yield Bar("256 MiB: CPU per GiB to nginx", whole.ratio("CPU s/GiB", OURS, _REFERENCE))
        yield Bar("4 KiB: requests/s to nginx", many.ratio("requests/s", OURS, _REFERENCE))

"""Hits over TLS beside nginx: one large item, and a 4 KiB item over 32 connections that stay open.

Measured without a bar, as installed and without logs. One worker each, on one
CPU; the client decrypts on another.
"""

import time
from collections.abc import Iterator
from contextlib import ExitStack

from figures import Bar, Effort, Finding, alternate
from loads import wrk
from processes import SERVER_CPUS, Server
from remarks import Switch
from servers import ONE_WORKER, has_nginx, nginx_static, ours
from servers.peers import check_digest, origin_of, pairs_of
from stage import Stage, stage

from scenarios.large import fetch

NEEDS = ("wrk",)
BESIDE = ("nginx",)
MIB = 1024 * 1024
_LARGE_BYTES = 256 * MIB
_LEARNING_S = 1.5


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield the figures of both."""
    with (
        stage([effort.scaled(_LARGE_BYTES), 4096]) as ready,
        origin_of(ready) as origin,
        ExitStack() as stack,
    ):
        large, small = ready.items
        servers = _start(ready, origin, stack)
        names = list(servers)
        whole = alternate(names, effort.rounds, lambda name, _: fetch(servers[name], large.path, large.size))
        yield from whole.rows("256 MiB item", lambda figures: figures["MiB/s"])
        many = alternate(
            names, effort.rounds, lambda name, _: wrk.load(servers[name], small.path, effort.seconds)
        )
        yield from many.rows("4 KiB item", lambda figures: figures["requests/s"])
    for how, mine, theirs in pairs_of(set(whole.servers) & set(many.servers)):
        yield Bar(f"256 MiB, {how}: throughput to nginx", whole.ratio("MiB/s", mine, theirs))
        yield Bar(f"256 MiB, {how}: CPU per GiB to nginx", whole.ratio("CPU s/GiB", mine, theirs))
        yield Bar(f"4 KiB, {how}: requests/s to nginx", many.ratio("requests/s", mine, theirs))
        yield Bar(f"4 KiB, {how}: CPU to nginx", many.ratio("CPU ms/1000", mine, theirs))


def _start(ready: Stage, origin: Server, stack: ExitStack) -> dict[str, Server]:
    """Start nginx and ours, each with and without its access log, holding all items."""
    certificate = ready.certificate()
    options = (
        ONE_WORKER,
        Switch("tls.certificate", f'"{certificate.chain}"', '""', "what is measured"),
        Switch("tls.key", f'"{certificate.key}"', '""', "what is measured"),
    )
    servers: list[Server] = []
    for access_log in (True, False):
        if has_nginx():
            work = ready.folder(f"nginx-{access_log}")
            nginx = nginx_static(work, ready.root, certificate=certificate, access_log=access_log)
            servers.append(stack.enter_context(nginx))
        work = ready.folder(f"ours-{access_log}")
        mine = ours(
            work, [origin.base], ready.keyring, options=options, scheme="https", access_log=access_log
        )
        servers.append(stack.enter_context(mine))
    for server in servers:
        for item in ready.items:
            check_digest(server, item.path, item.digest)
        server.pin(SERVER_CPUS)
    time.sleep(_LEARNING_S)
    return {server.name: server for server in servers}

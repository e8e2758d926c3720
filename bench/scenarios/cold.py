"""Cold fills: 1 GiB in 64 items, 8 clients, into empty stores.

nginx stores what it gets; ours verifies every byte and syncs it to disk before
a reply ends. Nothing is kept to one CPU: origin, server and clients share what
there is, and nginx and ours have as many workers as they are installed with.
What earlier rounds wrote reaches the disk before the next one begins, and the
memory for its page cache is there.
"""

import os
import shutil
import statistics
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import machine
from clients import download, download_all, expect_sizes
from figures import Bar, Effort, Finding, alternate
from processes import Server
from servers import has_nginx, nginx_cache, ours, squid_cache, varnish_cache
from servers.names import OURS
from servers.peers import origin_of
from stage import INDEX_PATH, Stage, stage

MIB = 1024 * 1024
_ITEMS = 64
_ITEM_BYTES = 16 * MIB
_CLIENTS = 8
_TOUCHED_BYTES = 4 * 1024 * MIB
"""What is stored, and what a cache that keeps bodies in memory may need beside it."""
_REFERENCE = "nginx proxy_cache"
_ORIGIN = "the origin itself"


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield wall time and CPU of all caches, and of the origin itself."""
    with stage([_ITEM_BYTES] * effort.scaled(_ITEMS)) as ready, origin_of(ready) as origin:
        caches = {name for name, program in _PROGRAMS.items() if shutil.which(program) is not None}
        names = [name for name in (_REFERENCE, OURS, "Squid", "Varnish") if name in caches]
        rounds = alternate([*names, _ORIGIN], effort.rounds, partial(_one_run, ready, origin))
        case = f"{len(ready.items)} items of 16 MiB, {_CLIENTS} clients"
        for row in rounds.rows(case, lambda figures: 1 / figures["wall s"]):
            yield replace(row, speed=None) if row.server == _ORIGIN else row
        if has_nginx():
            to = partial(rounds.ratio, subject=OURS, reference=_REFERENCE)
            yield Bar("wall time to nginx proxy_cache", to("wall s"), at_most=1.0)
            yield Bar("CPU to nginx proxy_cache", to("CPU s"), at_most=2.0)


_PROGRAMS = {_REFERENCE: "nginx", OURS: "true", "Squid": "squid", "Varnish": "varnishd"}


def _start(ready: Stage, origin: Server, name: str, work: Path) -> AbstractContextManager[Server]:
    if name == OURS:
        return ours(work, origin.base, ready.keyring)
    if name == _REFERENCE:
        return nginx_cache(work, origin.base, workers=None)
    if name == "Squid":
        return squid_cache(work, origin.base)
    if name == "Varnish":
        return varnish_cache(work, origin.base)
    return nullcontext(origin)


def _one_run(ready: Stage, origin: Server, name: str, number: int) -> Mapping[str, float]:
    """Fetch every item once through a server that has nothing yet."""
    work = ready.folder(f"cold-{name.replace(' ', '-')}-{number}")
    os.sync()
    with _start(ready, origin, name, work) as server:
        download(server.base + INDEX_PATH)
        machine.touch_free_memory(_TOUCHED_BYTES)
        before_s = server.cpu_s()
        downloads, wall_s = download_all([server.base + item.path for item in ready.items], _CLIENTS)
        cpu_s = server.cpu_s() - before_s
        expect_sizes(downloads, [item.size for item in ready.items], server.name)
        figures = {
            "wall s": wall_s,
            "CPU s": cpu_s,
            "first byte ms": statistics.median(one.first_byte_s for one in downloads) * 1000,
            "memory MiB": server.memory_bytes() / MIB,
        }
    shutil.rmtree(work)
    return figures

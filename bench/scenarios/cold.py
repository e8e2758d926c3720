"""Cold fills: 1 GiB in 64 items, 8 clients, into empty stores.

nginx stores what it gets; ours verifies every byte and syncs it to disk before
a reply ends. The least that this can cost is what nginx takes and SHA-256 of the
same bytes, which is measured in every round. Nothing is kept to one CPU: origin,
server and clients share what there is. What earlier rounds wrote reaches the disk
before the next one begins, and the memory for its page cache is there.

Bars on wall time are for one worker each. As installed, both have one per CPU:
where two CPUs are all there are, nginx's workers fill both alone, and hashing
comes on top.
"""

import hashlib
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import machine
from clients import download, download_all, expect_sizes
from figures import Bar, Effort, Finding, Rounds, alternate
from processes import Server
from servers import ONE_WORKER, nginx_cache, ours, squid_cache, varnish_cache
from servers.names import OURS
from servers.peers import origin_of
from stage import INDEX_PATH, Stage, stage
from support.certificates import Certificate

BESIDE = ("nginx", "squid", "varnishd")
MIB = 1024 * 1024
_ITEMS = 64
_ITEM_BYTES = 16 * MIB
_CLIENTS = 8
_TOUCHED_BYTES = 4 * 1024 * MIB
"""What is stored, and what a cache that keeps bodies in memory may need beside it."""
_REFERENCE = "nginx proxy_cache"
_ORIGIN = "the origin itself"
_HASHING = "SHA-256 of the same bytes"
_PROGRAMS = {_REFERENCE: "nginx", "Squid": "squid", "Varnish": "varnishd"}


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield wall time and CPU of all caches, and of the origin itself."""
    present = [name for name, program in _PROGRAMS.items() if shutil.which(program) is not None]
    with stage([_ITEM_BYTES] * effort.scaled(_ITEMS)) as ready, origin_of(ready) as origin:
        yield from fill(effort, ready, origin, present)


def fill(
    effort: Effort, ready: Stage, origin: Server, caches: list[str], certificate: Certificate | None = None
) -> Iterator[Finding]:
    """Yield what ours and other caches take to get everything from an origin."""
    for workers, others in ((1, caches), (None, [one for one in caches if one == _REFERENCE])):
        how = "as installed" if workers is None else "one worker"
        names = [OURS, *others, _HASHING, _ORIGIN]
        cases = _Cases(ready, origin, certificate, workers)
        rounds = alternate(names, effort.rounds, cases.one_run)
        for row in rounds.rows(f"{how}, {_CLIENTS} clients", lambda figures: 1 / figures["wall s"]):
            yield replace(row, speed=None) if row.server in {_ORIGIN, _HASHING} else row
        if _REFERENCE in rounds.servers:
            yield from _bars(how, rounds, most_wall=1.1 if workers == 1 else None)


def _bars(how: str, rounds: Rounds, most_wall: float | None) -> Iterator[Finding]:
    wall = rounds.ratio("wall s", OURS, _REFERENCE)
    yield Bar(f"{how}: wall time to nginx proxy_cache", wall, at_most=most_wall)
    mine, theirs, hashing = (rounds.values(name, "CPU s") for name in (OURS, _REFERENCE, _HASHING))
    of_the_least = [one / (nginx + sha) for one, nginx, sha in zip(mine, theirs, hashing, strict=True)]
    yield Bar(f"{how}: CPU to nginx and SHA-256 together", statistics.median(of_the_least), at_most=1.1)
    yield Bar(f"{how}: CPU to nginx proxy_cache", rounds.ratio("CPU s", OURS, _REFERENCE))
    first_ms = rounds.median(OURS, "first byte ms")
    yield Bar(f"{how}: first byte of a cold item, ms", first_ms, at_most=10)


@dataclass(frozen=True)
class _Cases:
    """Caches before one origin, with so many workers or as they are installed."""

    ready: Stage
    origin: Server
    certificate: Certificate | None
    """Of an https origin."""
    workers: int | None

    def one_run(self, name: str, _: int) -> Mapping[str, float]:
        """Fetch every item once through a server that has nothing yet."""
        if name == _HASHING:
            return _hash(self.ready)
        work = self.ready.folder(f"cold-{name.replace(' ', '-')}")
        os.sync()
        with self._start(name, work) as server:
            download(server.base + INDEX_PATH)
            machine.touch_free_memory(_TOUCHED_BYTES)
            machine.touch_page_cache(work, 2 * sum(item.size for item in self.ready.items))
            before_s = server.cpu_s()
            urls = [server.base + item.path for item in self.ready.items]
            downloads, wall_s = download_all(urls, _CLIENTS)
            cpu_s = server.cpu_s() - before_s
            expect_sizes(downloads, [item.size for item in self.ready.items], server.name)
            figures = {
                "wall s": wall_s,
                "CPU s": cpu_s,
                "first byte ms": statistics.median(one.first_byte_s for one in downloads) * 1000,
                "memory MiB": server.memory_bytes() / MIB,
            }
        shutil.rmtree(work)
        return figures

    def _start(self, name: str, work: Path) -> AbstractContextManager[Server]:
        upstream = self.origin.base
        if name == OURS:
            authority = None if self.certificate is None else self.certificate.authority
            options = [] if self.workers is None else [ONE_WORKER]
            return ours(work, [upstream], self.ready.keyring, options=options, authority=authority)
        if name == _REFERENCE:
            return nginx_cache(work, upstream, workers=self.workers)
        if name == "Squid":
            return squid_cache(work, upstream)
        if name == "Varnish":
            return varnish_cache(work, upstream)
        return nullcontext(self.origin)


def _hash(ready: Stage) -> Mapping[str, float]:
    """Hash every item once, from memory; reading it is not counted."""
    cpu_s = wall_s = 0.0
    for item in ready.items:
        content = item.data_path.read_bytes()
        before_s, began_s = time.process_time(), time.perf_counter()
        hashlib.sha256(content)
        cpu_s += time.process_time() - before_s
        wall_s += time.perf_counter() - began_s
    return {"wall s": wall_s, "CPU s": cpu_s}

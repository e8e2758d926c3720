"""Large hits: one item of 256 MiB, one client, again and again.

One worker each, on one CPU. The client, on another, lets the kernel throw the
bytes away, so that what is measured is the server. Each server runs as it is
installed, with its access log; nginx and ours once more without one.

The reference's file was written in one go, so that it lies in the largest folios
that the page cache has. sstream-mirror writes 10 KiB at a time, and what it wrote
costs nginx more to send: that is measured, too, where it is installed.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from clients import download_all, expect_sizes
from figures import Bar, Effort, Finding, Note, alternate
from processes import SERVER_CPUS, Server
from servers import nginx_static
from servers.names import OURS, REFERENCE
from servers.peers import check_digest, hit_servers, pairs_of
from stage import Stage, stage

MIB = 1024 * 1024
GIB = 1024 * MIB
_ITEM_BYTES = 256 * MIB
_DOWNLOADS = 6
_MIRRORED = "nginx static, mirrored"
_SSTREAM_MIRROR = Path(sys.executable).with_name("sstream-mirror")


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield throughput and CPU of all servers."""
    with stage([effort.scaled(_ITEM_BYTES)]) as ready:
        [item] = ready.items
        with hit_servers(ready, [item.path]) as present, _mirrored(ready, present) as mirrored:
            servers = {**present, **mirrored}
            rounds = alternate(
                list(servers),
                effort.rounds,
                lambda name, _: fetch(servers[name], item.path, item.size),
            )
            yield from rounds.rows("256 MiB item", lambda figures: figures["MiB/s"])
            for how, mine, theirs in pairs_of(rounds.servers):
                to = partial(rounds.ratio, subject=mine, reference=theirs)
                yield Bar(f"{how}: throughput to nginx static", to("MiB/s"), at_least=1.0)
                yield Bar(f"{how}: CPU per GiB to nginx static", to("CPU s/GiB"), at_most=1.05)
            if not mirrored:
                yield Note("nginx or sstream-mirror is not installed: what that wrote is not measured")
            else:
                to = partial(rounds.ratio, subject=OURS, reference=_MIRRORED)
                yield Bar("throughput to nginx on what sstream-mirror wrote", to("MiB/s"), at_least=1.0)
                yield Bar("CPU per GiB to nginx on what sstream-mirror wrote", to("CPU s/GiB"), at_most=1.05)


@contextlib.contextmanager
def _mirrored(ready: Stage, servers: Mapping[str, Server]) -> Iterator[dict[str, Server]]:
    """Run nginx over files that sstream-mirror fetched from the reference, if both are installed."""
    if REFERENCE not in servers or not _SSTREAM_MIRROR.exists():
        yield {}
        return
    mirror = ready.folder("mirror")
    command = [str(_SSTREAM_MIRROR), f"--keyring={ready.keyring}", servers[REFERENCE].base, str(mirror)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"sstream-mirror failed:\n{done.stderr}")
    with nginx_static(ready.work / "nginx-mirrored", mirror) as server:
        for item in ready.items:
            check_digest(server, item.path, item.digest)
        server.pin(SERVER_CPUS)
        yield {_MIRRORED: server}


def fetch(server: Server, path: str, size_bytes: int) -> Mapping[str, float]:
    """Fetch an item some times, one after the other; return throughput and CPU."""
    before_s = server.cpu_s()
    downloads, _ = download_all([server.base + path] * _DOWNLOADS)
    cpu_s = server.cpu_s() - before_s
    expect_sizes(downloads, [size_bytes] * _DOWNLOADS, server.name)
    body_bytes = size_bytes * _DOWNLOADS
    return {
        "MiB/s": body_bytes / sum(one.seconds for one in downloads) / MIB,
        "CPU s/GiB": cpu_s / (body_bytes / GIB),
        "memory MiB": server.memory_bytes() / MIB,
    }

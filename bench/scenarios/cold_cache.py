"""A large hit that is not in the page cache, and who has to wait meanwhile.

The file is dropped from the page cache (posix_fadvise(2), POSIX_FADV_DONTNEED),
one client fetches it, and a probe asks for a 4 KiB item every 2 ms. How slow the
disk is decides what there is to see: the figures tell what it delivered.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from clients import download_all, expect_sizes
from figures import Bar, Effort, Finding, alternate
from loads.probe import probing
from processes import Server
from servers.names import OURS, REFERENCE
from servers.peers import hit_servers
from stage import Stage, stage

MIB = 1024 * 1024
_ITEM_BYTES = 1024 * MIB
_PROBE_EVERY_S = 0.002


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield latencies of the probe, and throughput."""
    with stage([effort.scaled(_ITEM_BYTES), 4096]) as ready:
        large, small = ready.items
        with hit_servers(ready, [large.path, small.path], only={OURS, REFERENCE}, without_log=()) as servers:
            files = {REFERENCE: large.data_path, OURS: _blob_path(ready, large.digest)}
            rounds = alternate(
                list(servers),
                effort.rounds,
                lambda name, _: _one_run(servers[name], files[name], large.path, small.path),
            )
    yield from rounds.rows("not in the page cache")
    yield Bar("lag p99 of others, ms", rounds.median(OURS, "lag p99 ms"))
    yield Bar("longest lag of others, ms", rounds.median(OURS, "lag worst ms"))


def _one_run(server: Server, file: Path, large: str, small: str) -> Mapping[str, float]:
    size_bytes = file.stat().st_size
    _drop_from_page_cache(file)
    with probing(server.base + small, _PROBE_EVERY_S) as end:
        downloads, _ = download_all([server.base + large])
        latencies = end()
    expect_sizes(downloads, [size_bytes], server.name)
    return {**latencies.figures(), "MiB/s": size_bytes / downloads[0].seconds / MIB}


def _drop_from_page_cache(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fdatasync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def _blob_path(ready: Stage, digest: str) -> Path:
    return ready.work / OURS / "data" / "blobs" / "sha256" / digest[:2] / digest

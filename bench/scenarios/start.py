"""A large store: 100,000 blobs and 1,000,000 paths in the lists. Start, memory, eviction, a lost ledger.

The blobs are small: what counts here is how many there are. A first start, which
fetches and verifies all lists, is not measured; the second one is.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from clients import download
from figures import Bar, Effort, Finding, Row
from processes import Server
from servers import ONE_WORKER, ours
from servers.names import OURS
from servers.peers import origin_of
from stage import Stage, stage

from proxy.digest import Digest
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger

_BLOBS = 100_000
_PATHS = 1_000_000
_BLOB_BYTES = 64
_EVICTED = 10_000
_SETTLE_S = 2.0
_LONGEST_START_S = 600.0
_MB = 1_000_000


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield times and memory of one run: its rounds would take too long."""
    blobs, paths = effort.scaled(_BLOBS), effort.scaled(_PATHS)
    case = f"{paths:,} paths, {blobs:,} blobs"
    with stage([4096], listed_only=paths) as prepared, origin_of(prepared) as origin:
        store = _Store(prepared, origin.base)
        _fill(store.data, blobs)
        with store.served() as (_, first_start_s):
            _wait_until_tidy(store.data, blobs)
        with store.served() as (server, start_s):
            time.sleep(_SETTLE_S)
            peak_mb, tree_mb = server.peak_rss_bytes() / _MB, server.memory_bytes() / _MB
            held = _count_blobs(store.data)
            slowest_ms = store.evict_under_load(server, max(1, min(_EVICTED, blobs // 2)))
        left = _count_blobs(store.data)
        shutil.rmtree(store.data / "ledger")
        with store.served() as (_, bare_start_s):
            _wait_until_tidy(store.data, left)
        lost = left - _count_blobs(store.data)
    figures = {"start s": start_s, "RSS MB, largest process": peak_mb, "memory MB, all": tree_mb}
    yield Row(case, OURS, figures)
    yield Row(case, f"{OURS}, first start", {"start s": first_start_s})
    yield Row(case, f"{OURS}, ledger lost", {"start s": bare_start_s, "blobs lost": lost})
    evicting = {"blobs evicted": held - left, "slowest request ms": slowest_ms}
    yield Row(case, f"{OURS}, evicting", evicting)
    yield Bar("start to first answer, s", start_s, at_most=1)
    yield Bar("RSS of the largest process, MB", peak_mb, at_most=300)
    yield Bar("memory of all processes (PSS), MB", tree_mb, at_most=300)


class _Store:
    """A data directory that is served again and again."""

    def __init__(self, prepared: Stage, upstream: str) -> None:
        self._prepared = prepared
        self._upstream = upstream
        self.data = prepared.work / "data"

    @contextmanager
    def served(self) -> Iterator[tuple[Server, float]]:
        """Start the server and ask at once; yield it and the seconds until the first answer."""
        began = time.perf_counter()
        work, keyring = self._prepared.work, self._prepared.keyring
        with ours(work, [self._upstream], keyring, options=[ONE_WORKER]) as server:
            while not self._is_answered(server):
                if time.perf_counter() - began > _LONGEST_START_S:
                    raise SystemExit("the proxy does not answer")
                time.sleep(0.002)
            yield server, time.perf_counter() - began

    def _is_answered(self, server: Server) -> bool:
        try:
            return download(server.base + self._prepared.items[0].path).status == 200
        except OSError:
            return False

    def evict_under_load(self, server: Server, count: int) -> float:
        """Evict blobs from another process while a client asks; return its slowest answer in ms."""
        with closing(Ledger(self.data / "ledger")) as ledger:
            small = (
                usage.digest for usage in BlobRecords(ledger).usages() if usage.size_bytes == _BLOB_BYTES
            )
            digests = [digest for digest, _ in zip(small, range(count), strict=False)]
        slowest_ms, is_over = [0.0], threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                slowest_ms.append(download(server.base + self._prepared.items[0].path).seconds * 1000)

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            _evict(self.data, digests)
        finally:
            is_over.set()
            asker.join()
        return max(slowest_ms)


def _fill(data: Path, count: int) -> None:
    """Put blobs into a store as files; its ledger will find them."""
    root = data / "blobs" / "sha256"
    for number in range(256):
        (root / f"{number:02x}").mkdir(parents=True)
    for number in range(count):
        content = f"{number:0{_BLOB_BYTES}}".encode()
        digest = hashlib.sha256(content).hexdigest()
        (root / digest[:2] / digest).write_bytes(content)


def _count_blobs(data: Path) -> int:
    return sum(1 for _ in (data / "blobs" / "sha256").glob("*/*"))


def _wait_until_tidy(data: Path, count: int) -> None:
    """Return when the ledger knows all blobs."""
    with closing(Ledger(data / "ledger")) as ledger:
        while BlobRecords(ledger).count() < count:
            time.sleep(0.2)


def _evict(data: Path, digests: list[Digest]) -> None:
    """Evict blobs as the keeper does: by making room ahead of need, in another process."""
    program = (
        "import sys, json, pathlib\n"
        "from proxy.store.ledger import Ledger; from proxy.store.local.store import LocalStore\n"
        "from proxy.store.blob_records import BlobRecords; from proxy.store.eviction import Eviction\n"
        "from proxy.store.limits import StoreLimits; from proxy.store.pins import Pins\n"
        "from proxy.store.proofs import Proofs; from proxy.store.reservations import Reservations\n"
        "data = pathlib.Path(sys.argv[1]); store = LocalStore(data); ledger = Ledger(data / 'ledger')\n"
        "wanted = set(json.load(sys.stdin))\n"
        "blobs = BlobRecords(ledger)\n"
        "reservations = Reservations(store, ledger, blobs, Proofs(store, blobs), StoreLimits())\n"
        "usages = [usage for usage in blobs.usages() if usage.digest in wanted]\n"
        "Eviction(store, ledger, blobs, Pins(ledger), reservations).evict(usages)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(data)], input=json.dumps(digests), text=True, check=True
    )

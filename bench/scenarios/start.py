"""A large store: start, memory, eviction and a lost ledger at 100,000 blobs.

    python bench/scale.py [--blobs N] [--known-paths N]

The blobs are small: what counts here is how many there are.
"""

import argparse
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
from servers import Pace, Server, ours, slow_origin
from stage import Stage, stage

from proxy.digest import Digest
from proxy.store.ledger import Ledger

_BLOB_BYTES = 64
_EVICTED = 10_000
_SETTLE_S = 2.0


def main() -> None:
    """Measure, and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blobs", type=int, default=100_000)
    parser.add_argument("--known-paths", type=int, default=0, help="further paths in the list, without blobs")
    arguments = parser.parse_args()
    with (
        stage([4096], listed_only=arguments.known_paths) as prepared,
        slow_origin(prepared.root, Pace()) as origin,
    ):
        bench = Bench(prepared, origin.base)
        fill(bench.data, arguments.blobs)
        result: dict[str, object] = {"blobs": arguments.blobs, "known_paths": arguments.known_paths}
        with bench.started():
            wait_until_tidy(bench.data, arguments.blobs)
        with bench.started() as (server, start_s):
            result["start_to_first_answer_s"] = round(start_s, 3)
            time.sleep(_SETTLE_S)
            result["peak_rss_mb"] = round(server.peak_rss_bytes() / 1e6)
            held = count_blobs(bench.data)
            result["slowest_request_while_evicting_ms"] = round(bench.evict_under_load(server), 1)
        before = count_blobs(bench.data)
        result["blobs_evicted"] = held - before
        shutil.rmtree(bench.data / "ledger")
        with bench.started() as (_, start_s):
            result["start_without_ledger_s"] = round(start_s, 3)
            wait_until_tidy(bench.data, before)
        result["blobs_lost_with_the_ledger"] = before - count_blobs(bench.data)
    print(json.dumps(result, indent=1))


class Bench:
    """A server over one data directory, started again and again."""

    def __init__(self, prepared: Stage, upstream: str) -> None:
        self._prepared = prepared
        self._upstream = upstream
        self.data = prepared.work / "data"

    @contextmanager
    def started(self) -> Iterator[tuple[Server, float]]:
        """Start the server and ask at once; yield it and the seconds until the first answer."""
        began = time.perf_counter()
        with ours(self._prepared.work, self._upstream, self._prepared.keyring) as server:
            while not self._is_answered(server):
                time.sleep(0.002)
            yield server, time.perf_counter() - began

    def _is_answered(self, server: Server) -> bool:
        try:
            return download(server.base + self._prepared.items[0].path).status == 200
        except OSError:
            return False

    def evict_under_load(self, server: Server) -> float:
        """Evict blobs from another process while a client asks; return its slowest answer in ms."""
        with closing(Ledger(self.data / "ledger")) as ledger:
            digests = [usage.digest for usage in ledger.usages() if usage.size_bytes == _BLOB_BYTES][
                :_EVICTED
            ]
        slowest, is_over = [0.0], threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                slowest.append(download(server.base + self._prepared.items[0].path).seconds * 1000)

        asker = threading.Thread(target=ask)
        asker.start()
        try:
            evict(self.data, digests)
        finally:
            is_over.set()
            asker.join()
        return max(slowest)


def fill(data: Path, count: int) -> None:
    """Put blobs into a store as files; its ledger will find them."""
    root = data / "blobs" / "sha256"
    for number in range(256):
        (root / f"{number:02x}").mkdir(parents=True)
    for number in range(count):
        content = f"{number:0{_BLOB_BYTES}}".encode()
        digest = hashlib.sha256(content).hexdigest()
        (root / digest[:2] / digest).write_bytes(content)


def count_blobs(data: Path) -> int:
    """Return how many blobs are on the disk."""
    return sum(1 for _ in (data / "blobs" / "sha256").glob("*/*"))


def wait_until_tidy(data: Path, count: int) -> None:
    """Return when the ledger knows all blobs."""
    with closing(Ledger(data / "ledger")) as ledger:
        while ledger.blob_count() < count:
            time.sleep(0.2)


def evict(data: Path, digests: list[Digest]) -> None:
    """Evict blobs as the keeper does: by making room ahead of need, in another process."""
    program = (
        "import sys, json, pathlib\n"
        "from proxy.store.ledger import Ledger; from proxy.store.local import LocalStore\n"
        "from proxy.store.room import Room; from proxy.store.limits import StoreLimits\n"
        "data = pathlib.Path(sys.argv[1]); store = LocalStore(data); ledger = Ledger(data / 'ledger')\n"
        "wanted = set(json.load(sys.stdin))\n"
        "usages = [usage for usage in ledger.usages() if usage.digest in wanted]\n"
        "Room(store, ledger, StoreLimits()).evict(usages)\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(data)], input=json.dumps(digests), text=True, check=True
    )


if __name__ == "__main__":
    main()

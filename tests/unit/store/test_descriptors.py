"""Descriptors of the ledger: all close with it, of whichever threads, and with a database that is no more."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier

import pytest
from support.running import make_config, run_proxy

from proxy.mirror import Mirror
from proxy.store.blob_records import BlobRecords
from proxy.store.ledger import Ledger, LedgerUnavailable

THREADS = 4


def opened(folder: Path) -> list[str]:
    """Return what this process has open below a folder, and what it had there that was removed."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            path = str(link.readlink())
        except FileNotFoundError:
            continue
        if path.startswith(str(folder)):
            found.append(path)
    return found


def in_each_thread(pool: ThreadPoolExecutor, use: Callable[[], object]) -> None:
    """Use something in all threads of a pool at once."""
    together = Barrier(THREADS)

    def use_together() -> None:
        together.wait(30)
        use()

    for used in [pool.submit(use_together) for _ in range(THREADS)]:
        used.result(30)


def test_connections_of_all_threads_close_with_the_ledger(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ThreadPoolExecutor(THREADS) as pool:
        in_each_thread(pool, lambda: (ledger.keys(""), BlobRecords(ledger).usages()))
        assert len(opened(tmp_path)) > 2 * THREADS
        ledger.close()
        assert opened(tmp_path) == []
        in_each_thread(pool, lambda: ledger.keys(""))  # Who comes later opens it again.
        ledger.close()
    assert opened(tmp_path) == []


def test_whoever_comes_to_a_database_that_was_replaced_closes_the_old_one(tmp_path: Path) -> None:
    with closing(Ledger(tmp_path)) as ledger, ThreadPoolExecutor(THREADS) as pool:
        in_each_thread(pool, lambda: ledger.keys(""))
        shutil.rmtree(tmp_path / "records")
        ledger.keys("")
        in_each_thread(pool, lambda: ledger.keys(""))
        assert [path for path in opened(tmp_path / "records") if path.endswith("(deleted)")] == []


@pytest.mark.parametrize("content", [b"no database, and long enough to be read as one" * 100, b""])
def test_a_database_that_cannot_be_opened_stays_closed(tmp_path: Path, content: bytes) -> None:
    for table in ("records", "blobs"):
        (tmp_path / table).mkdir()
        (tmp_path / table / "cache.db").write_bytes(content)
    ledger = Ledger(tmp_path)
    if content:
        with pytest.raises(LedgerUnavailable):
            ledger.keys("")
        assert opened(tmp_path) == []
    ledger.close()
    assert opened(tmp_path) == []


async def test_nothing_of_the_ledger_is_open_once_the_proxy_has_ended(tmp_path: Path, mirror: Mirror) -> None:
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        await proxy.read("streams/v1/index.sjson")
        await proxy.read("/-/stats")
        assert opened(tmp_path / "data" / "ledger")
    assert opened(tmp_path / "data" / "ledger") == []

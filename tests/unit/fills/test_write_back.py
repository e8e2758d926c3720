"""The disk takes a partial file while it grows; the fill never waits for that."""

import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from proxy.digest import digest_of
from proxy.fills.write_back import WriteBack
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
from proxy.system.threads import Threads

MIB = 1024 * 1024
DATA = bytes(16 * MIB)


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads()
    yield threads
    await threads.close()


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[LocalIncoming]:
    incoming = LocalStore(tmp_path / "data").acquire(digest_of(DATA), len(DATA))
    assert incoming is not None
    yield incoming
    incoming.close()


class Disk:
    """Notes what it has to take, and takes each part only when it is allowed to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun: list[tuple[int, int]] = []
        self.may_take = threading.Semaphore(0)
        monkeypatch.setattr(LocalIncoming, "begin_write_back", lambda _, *part: self._take(*part))

    def _take(self, start: int, stop: int) -> None:
        self.begun.append((start, stop))
        self.may_take.acquire(timeout=30)


async def taken(write_back: WriteBack, threads: Threads) -> None:
    while write_back.is_running:
        await threads.sync(lambda: None)


async def test_the_disk_takes_one_part_at_a_time_and_the_next_one_is_all_that_has_come(
    incoming: LocalIncoming, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    write_back = WriteBack(incoming, threads)
    for length_bytes in range(MIB, 12 * MIB, MIB):  # Returns though the disk hangs.
        write_back.note(length_bytes)
    disk.may_take.release()
    await taken(write_back, threads)
    assert disk.begun == [(0, 4 * MIB)]
    disk.may_take.release()
    write_back.note(12 * MIB)
    await taken(write_back, threads)  # The end of the threads drops what has not begun.
    assert disk.begun == [(0, 4 * MIB), (4 * MIB, 12 * MIB)]


async def test_what_is_too_little_is_left_to_the_commit(
    incoming: LocalIncoming, threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    WriteBack(incoming, threads).note(4 * MIB - 1)
    await threads.close()
    assert not disk.begun


def test_it_may_come_after_the_file_is_committed_and_closed(tmp_path: Path, incoming: LocalIncoming) -> None:
    incoming.append(DATA)
    incoming.verify()
    incoming.commit()
    incoming.close()
    incoming.begin_write_back(0, len(DATA))
    assert LocalStore(tmp_path / "data").has(digest_of(DATA))

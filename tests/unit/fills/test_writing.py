"""Chunks reach the file in order, behind the back of who receives them, and never after it is let go."""

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from proxy.digest import SizeMismatch, digest_of
from proxy.fills import writing as module
from proxy.fills.writing import Writing
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
from proxy.system.threads import Threads

DATA = bytes(range(256)) * 40
CHUNKS = [DATA[start : start + 1000] for start in range(0, len(DATA), 1000)]


@pytest.fixture
async def threads() -> AsyncIterator[Threads]:
    threads = Threads()
    yield threads
    await threads.close()


@pytest.fixture
def incoming(tmp_path: Path) -> Iterator[LocalIncoming]:
    incoming = LocalStore(tmp_path).acquire(digest_of(DATA), len(DATA))
    assert incoming is not None
    yield incoming
    incoming.close()


class Disk:
    """Holds every write until it is released."""

    def __init__(self, incoming: LocalIncoming, monkeypatch: pytest.MonkeyPatch) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_released = threading.Event()
        self._append = incoming.append
        self.is_waited_for = asyncio.Event()
        self._draw = incoming.draw
        monkeypatch.setattr(incoming, "append", self._wait_and_append)
        monkeypatch.setattr(incoming, "draw", self._wait_and_draw)

    def release(self) -> None:
        """Let writes pass from now on."""
        self._is_released.set()

    def _wait_and_append(self, *chunks: bytes) -> None:
        self._loop.call_soon_threadsafe(self.is_waited_for.set)
        self._is_released.wait(30)
        self._append(*chunks)

    def _wait_and_draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> None:
        self._loop.call_soon_threadsafe(self.is_waited_for.set)
        self._is_released.wait(30)
        self._draw(receive, most_bytes)


def receive_from(data: bytes) -> Callable[[memoryview], int]:
    """Return what puts `data` into buffers, as a socket would that has it all."""
    return io.BytesIO(data).readinto


async def test_all_is_written_in_order_and_told(
    tmp_path: Path, threads: Threads, incoming: LocalIncoming
) -> None:
    told: list[int] = []
    async with Writing(incoming, threads, told.append) as writing:
        for chunk in CHUNKS:
            await writing.add(chunk)
        await writing.finish()
    incoming.verify()
    assert (tmp_path / "incoming" / digest_of(DATA)).read_bytes() == DATA
    assert told == sorted(told)
    assert told[-1] == len(DATA)


async def test_chunks_that_come_during_a_write_go_together(
    threads: Threads, incoming: LocalIncoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    disk = Disk(incoming, monkeypatch)
    async with Writing(incoming, threads, told.append) as writing:
        for chunk in CHUNKS:
            await writing.add(chunk)  # Returns though nothing is written yet.
        await disk.is_waited_for.wait()
        disk.release()
        await writing.finish()
    assert len(told) <= 2
    assert told[-1] == len(DATA)


async def test_who_receives_waits_when_much_is_not_written(
    threads: Threads, incoming: LocalIncoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_WAITING_BYTES", 2500)
    disk = Disk(incoming, monkeypatch)
    async with Writing(incoming, threads, lambda _: None) as writing:
        await writing.add(CHUNKS[0])
        await disk.is_waited_for.wait()
        await writing.add(CHUNKS[1])
        await writing.add(CHUNKS[2])
        adding = asyncio.create_task(writing.add(CHUNKS[3]))
        await asyncio.sleep(0)
        assert not adding.done()
        disk.release()
        await adding
        assert incoming.length_bytes == 4000


async def test_what_goes_wrong_is_told_to_who_adds_or_finishes(
    threads: Threads, incoming: LocalIncoming
) -> None:
    async with Writing(incoming, threads, lambda _: None) as writing:
        for chunk in [*CHUNKS, b"too much"]:
            await writing.add(chunk)
        with pytest.raises(SizeMismatch):
            await writing.finish()


async def test_nothing_is_written_after_the_end_even_when_cancelled(
    threads: Threads, incoming: LocalIncoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file may be closed then, and its descriptor be another's."""
    disk = Disk(incoming, monkeypatch)

    async def receive() -> None:
        async with Writing(incoming, threads, lambda _: None) as writing:
            for chunk in CHUNKS:
                await writing.add(chunk)
            await writing.finish()

    receiving = asyncio.create_task(receive())
    await disk.is_waited_for.wait()
    receiving.cancel()
    await asyncio.sleep(0)
    assert not receiving.done()
    disk.release()
    with pytest.raises(asyncio.CancelledError):
        await receiving


async def test_what_is_received_by_the_thread_follows_what_was_added(
    tmp_path: Path, threads: Threads, incoming: LocalIncoming
) -> None:
    told: list[int] = []
    async with Writing(incoming, threads, told.append) as writing:
        for chunk in CHUNKS[:3]:
            await writing.add(chunk)
        assert await writing.draw(receive_from(DATA[3000:8000]), len(DATA)) == 5000
        assert told[-1] == 8000
        assert await writing.draw(receive_from(b""), len(DATA)) == 0
        await writing.add(DATA[8000:])
        await writing.finish()
    incoming.verify()
    assert (tmp_path / "incoming" / digest_of(DATA)).read_bytes() == DATA
    assert told == sorted(told)


async def test_what_goes_wrong_with_what_is_received_is_told(
    threads: Threads, incoming: LocalIncoming
) -> None:
    async with Writing(incoming, threads, lambda _: None) as writing:
        with pytest.raises(SizeMismatch):
            await writing.draw(receive_from(DATA + b"too much"), 2 * len(DATA))


async def test_nothing_is_received_after_the_end_even_when_cancelled(
    threads: Threads, incoming: LocalIncoming, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket may be closed then, and its descriptor be another's."""
    disk = Disk(incoming, monkeypatch)
    has_left = False

    async def receive() -> None:
        nonlocal has_left
        async with Writing(incoming, threads, lambda _: None) as writing:
            try:
                await writing.draw(receive_from(DATA), len(DATA))
            finally:
                has_left = True

    receiving = asyncio.create_task(receive())
    await disk.is_waited_for.wait()
    receiving.cancel()
    await asyncio.sleep(0)
    assert not has_left
    disk.release()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert incoming.length_bytes == len(DATA)

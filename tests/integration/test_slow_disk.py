"""A disk that is slow to read stops nobody but the client that waits for it."""

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.http.names import Found, NameNotResolved, Names
from proxy.store.local.incoming import LocalIncoming
from proxy.system.page_cache import is_cached
from proxy.web.wire import sinks

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Return a folder on a disk: what lies in memory cannot leave it."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def large(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=5 * MIB + 17)
    tree.publish()
    return item


@pytest.fixture
def small(tree: SignedTree, large: TreeItem) -> TreeItem:  # noqa: ARG001 - added first
    item = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=1000)
    tree.publish()
    return item


def leave_page_cache(path: Path) -> bool:
    """Have the kernel forget a file's pages; say whether it did."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size = path.stat().st_size
        return not is_cached(file.fileno(), 0, size, MIB)


class HeldDisk:
    """Holds every send that waits for the disk until it is released."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._is_released = threading.Event()
        self._loop = asyncio.get_running_loop()
        self.is_waited_for = asyncio.Event()
        send = sinks.SocketSink._send_waiting

        def wait_and_send(sink: sinks.SocketSink, *where: int) -> int:
            self._loop.call_soon_threadsafe(self.is_waited_for.set)
            self._is_released.wait(30)
            return send(sink, *where)

        monkeypatch.setattr(sinks, "is_cached", lambda *_: False)
        monkeypatch.setattr(sinks.SocketSink, "_send_waiting", wait_and_send)

    def release(self) -> None:
        """Let the disk answer from now on."""
        self._is_released.set()


async def stored(proxy: RunningProxy, *items: TreeItem) -> None:
    for item in items:
        assert (await proxy.read(item.path)).body == item.read()
    await proxy.fills_ended()


async def test_a_blob_that_left_the_page_cache_arrives_whole(proxy: RunningProxy, large: TreeItem) -> None:
    await stored(proxy, large)
    path = proxy.layout.path(Digest(large.digest))
    for header in ({}, {"Range": "bytes=1048570-3145740"}):
        leave_page_cache(path)
        got = await proxy.read(large.path, **header)
        expected = large.read()[1048570:3145741] if header else large.read()
        assert (got.body, got.is_complete) == (expected, True)


def test_what_was_read_is_in_memory_and_what_was_forgotten_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    if not leave_page_cache(path):
        pytest.skip("this filesystem keeps the pages")
    with path.open("rb") as file:
        file.read()
        assert is_cached(file.fileno(), 0, MIB, MIB)
        os.posix_fadvise(file.fileno(), MIB // 2, 0, os.POSIX_FADV_DONTNEED)
        assert not is_cached(file.fileno(), 0, MIB, MIB)


@pytest.mark.parametrize("stays_for_s", [0.0, 1e9])
async def test_what_is_sent_was_found_in_memory_just_before(
    proxy: RunningProxy, large: TreeItem, monkeypatch: pytest.MonkeyPatch, stays_for_s: float
) -> None:
    """Bytes that were found long ago are looked for again, those that were found just now are not."""
    await stored(proxy, large)
    looks, sends = [], []

    def look(fd: int, start: int, stop: int, every_bytes: int) -> bool:
        looks.append((start, stop))
        return is_cached(fd, start, stop, every_bytes)

    def send(to: int, fd: int, offset: int, length: int) -> int:
        sends.append((offset, offset + length))
        return os.sendfile(to, fd, offset, min(length, 300_000))

    monkeypatch.setattr(sinks, "_STAYS_FOR_S", stays_for_s)
    monkeypatch.setattr(sinks, "is_cached", look)
    monkeypatch.setattr(sinks, "_send", send)
    assert (await proxy.read(large.path)).body == large.read()

    if stays_for_s:
        assert [start for start, _ in looks] == [0, *(stop for _, stop in looks[:-1])]
        assert all(any(stop >= until for _, stop in looks) for _, until in sends)
    else:
        assert looks == sends
    assert looks[-1][1] == len(large.read())


async def test_others_are_answered_while_a_client_waits_for_the_disk(
    proxy: RunningProxy, large: TreeItem, small: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(proxy, large, small)
    for _ in range(3):  # Often enough to be answered from memory.
        await proxy.read("streams/v1/index.sjson")
    disk = HeldDisk(monkeypatch)
    waiting = asyncio.create_task(proxy.read(large.path))
    await disk.is_waited_for.wait()

    async with asyncio.timeout(10):
        assert (await proxy.read("streams/v1/index.sjson")).is_complete

    disk.release()
    assert (await waiting).body == large.read()


async def test_bytes_arrive_while_the_disk_takes_its_time_with_those_that_have_arrived(
    proxy: RunningProxy, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many commits as there are threads wait for the disk: no other transfer waits for those."""
    items = [
        tree.add_item(PRODUCT, "20250718", f"item-{number}", size=70_000, seed=str(number))
        for number in range(12)
    ]
    tree.publish()
    is_released, commit = threading.Event(), LocalIncoming.commit

    def wait_and_commit(incoming: LocalIncoming) -> None:
        is_released.wait(30)
        commit(incoming)

    monkeypatch.setattr(LocalIncoming, "commit", wait_and_commit)
    try:
        async with asyncio.timeout(10):
            for item in items:
                assert (await proxy.read(item.path)).body == item.read()
        assert not any(proxy.layout.path(Digest(item.digest)).exists() for item in items)
    finally:
        is_released.set()
    await proxy.fills_ended()
    assert all(proxy.layout.path(Digest(item.digest)).exists() for item in items)


async def test_an_item_begins_while_much_of_others_is_hashed(
    proxy: RunningProxy, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever hashes megabytes holds up neither the first byte of another item nor all of a small one."""
    large = [
        tree.add_item(PRODUCT, "20250718", f"large-{number}", size=5 * MIB, seed=str(number))
        for number in range(10)
    ]
    small = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=70_000)
    tree.publish()
    loop, have_all_begun = asyncio.get_running_loop(), asyncio.Event()
    is_released, begun = threading.Event(), set()
    draw, append = LocalIncoming.draw, LocalIncoming.append

    def wait_and_draw(incoming: LocalIncoming, receive: Callable[[memoryview], int], most_bytes: int) -> None:
        is_released.wait(30)
        draw(incoming, receive, most_bytes)

    def append_and_tell(incoming: LocalIncoming, *chunks: bytes) -> None:
        append(incoming, *chunks)
        begun.add(incoming)
        if len(begun) == len(large):
            loop.call_soon_threadsafe(have_all_begun.set)

    monkeypatch.setattr(LocalIncoming, "append", append_and_tell)
    monkeypatch.setattr(LocalIncoming, "draw", wait_and_draw)
    reading = [asyncio.create_task(proxy.read(item.path)) for item in large]
    try:
        async with asyncio.timeout(10):
            await have_all_begun.wait()
            assert (await proxy.read(small.path)).body == small.read()
    finally:
        is_released.set()
    assert [(await one).body for one in reading] == [item.read() for item in large]


async def test_who_is_cancelled_while_the_disk_is_slow_waits_for_the_thread() -> None:
    """Its descriptors stay open until then: their numbers must not be another client's meanwhile."""
    loop = asyncio.get_running_loop()
    is_released, is_begun, ended = threading.Event(), asyncio.Event(), []

    def read_slowly() -> int:
        loop.call_soon_threadsafe(is_begun.set)
        is_released.wait(30)
        ended.append(True)
        return 1

    sending = asyncio.create_task(sinks._in_thread(read_slowly))
    await is_begun.wait()
    sending.cancel()
    await asyncio.sleep(0)
    is_released.set()
    with pytest.raises(asyncio.CancelledError):
        await sending

    assert ended


async def test_a_hung_disk_stops_no_name_from_being_looked_up(
    tmp_path: Path,
    mirror: Mirror,
    origin: Origin,
    large: TreeItem,
    small: TreeItem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many clients wait for the disk: an item that is not here is asked for, and arrives."""
    by_name = replace(mirror, origins=(f"http://localhost:{origin.port}/",))
    config = make_config(tmp_path / "data", by_name)
    async with run_proxy(config) as proxy:
        await stored(proxy, large)
    async with run_proxy(config) as proxy:  # Which has looked nothing up yet.
        disk = HeldDisk(monkeypatch)
        waiting = [asyncio.create_task(proxy.read(large.path)) for _ in range(40)]
        await disk.is_waited_for.wait()

        async with asyncio.timeout(10):
            begun = asyncio.create_task(proxy.read(small.path))
            await origin.arrived(small.path)

        disk.release()
        assert (await begun).body == small.read()
        assert {(await one).is_complete for one in waiting} == {True}


async def test_hung_name_servers_stop_nobody_who_waits_for_the_disk(
    tmp_path: Path, mirror: Mirror, large: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do names that nobody knows keep those waiting that somebody knows."""
    is_over = threading.Event()
    look_up = socket.getaddrinfo

    def hang(host: str, *args: Any, **options: Any) -> Found:
        if host.endswith(".invalid"):
            is_over.wait(30)
        return look_up(host, *args, **options)

    names = Names(5.0, hang)
    lookups = [asyncio.create_task(names.resolve(f"hung-{number}.invalid", 80)) for number in range(12)]
    await asyncio.sleep(0)
    monkeypatch.setattr(sinks, "is_cached", lambda *_: False)
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        async with asyncio.timeout(10):
            await stored(proxy, large)
            assert (await proxy.read(large.path)).body == large.read()
            assert await names.resolve("localhost", 80, socket.AF_UNSPEC)
    is_over.set()
    found = await asyncio.gather(*lookups, return_exceptions=True)
    assert all(isinstance(error, NameNotResolved) for error in found)

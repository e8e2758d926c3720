"""Blobs of which many are read and many are committed at a time."""

import asyncio
import errno
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import pytest
from support.origin import Origin
from support.transfers import run_process

from proxy.bundles.reading.layouts import Blob
from proxy.bundles.reading.streams import FileStream
from proxy.digest import digest_of
from proxy.fills import first_bytes
from proxy.jobs.importing.commits import COMMITS_AT_ONCE
from proxy.jobs.importing.taken import Taken
from proxy.jobs.importing.taking import Taking
from proxy.progress import Unwatched
from proxy.simplestreams.model import Item
from proxy.system.threads import Threads

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class GatedThreads(Threads):
    """Threads in which each sync waits, by its number, until it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: defaultdict[int, asyncio.Event] = defaultdict(asyncio.Event)
        self.syncs = 0
        self.fails_at = 0

    async def sync(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Do it once it is let."""
        self.syncs += 1
        number = self.syncs
        await self.gates[number].wait()
        if number == self.fails_at:
            raise OSError(errno.EIO, "the disk is gone")
        return await super().sync(function, *args)


@pytest.fixture
async def threads() -> AsyncIterator[GatedThreads]:
    gated = GatedThreads()
    yield gated
    await gated.close()


async def take(taking: Taking, folder: Path, data: bytes) -> None:
    """Take a blob of three bytes from a file."""
    path = folder / data.decode()
    path.write_bytes(data)
    with path.open("rb") as file, closing(Blob(digest_of(data), 3, FileStream(file.fileno(), 3))) as blob:
        await taking.take(blob, Item(path.name, digest_of(data), 3))


async def test_no_commit_is_forgotten_when_two_readers_wait_for_one(
    tmp_path: Path, origin: Origin, threads: GatedThreads
) -> None:
    blobs = [b"%03d" % number for number in range(COMMITS_AT_ONCE + 2)]
    async with run_process(tmp_path / "data", origin) as process:
        taken = Taken()
        taking = Taking(
            replace(process.storage, threads=threads), process.facilities.first_bytes, Unwatched(), taken
        )

        for data in blobs[:COMMITS_AT_ONCE]:
            await take(taking, tmp_path, data)
        both = [asyncio.create_task(take(taking, tmp_path, data)) for data in blobs[COMMITS_AT_ONCE:]]
        store = process.store
        while not all(store.stored_bytes(digest_of(data), 3) for data in blobs):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        threads.gates[1].set()
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for number in range(2, COMMITS_AT_ONCE + 3):
            if number != COMMITS_AT_ONCE + 1:  # Of the first of both.
                threads.gates[number].set()
        await asyncio.gather(*both)
        finishing = asyncio.create_task(taking.finish())
        while taken.files < len(blobs) - 1:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.wait([finishing], timeout=0.05)
        assert not finishing.done(), "a commit is under way"
        threads.gates[COMMITS_AT_ONCE + 1].set()
        await finishing

    assert taken.files == len(blobs)


async def test_who_waits_when_a_commit_fails_lets_go_of_its_own_blob(
    tmp_path: Path, origin: Origin, threads: GatedThreads
) -> None:
    blobs = [b"%03d" % number for number in range(COMMITS_AT_ONCE + 1)]
    async with run_process(tmp_path / "data", origin) as process:
        taking = Taking(
            replace(process.storage, threads=threads), process.facilities.first_bytes, Unwatched(), Taken()
        )
        for data in blobs[:-1]:
            await take(taking, tmp_path, data)
        waiting = asyncio.create_task(take(taking, tmp_path, blobs[-1]))
        store, last = process.store, digest_of(blobs[-1])
        while not store.stored_bytes(last, 3):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        threads.fails_at = 1
        threads.gates[1].set()
        with pytest.raises(OSError, match="the disk is gone"):
            await waiting
        incoming = await process.threads.disk(store.acquire, last, 3)
        assert incoming is not None
        await process.threads.disk(incoming.close)
        for number in range(2, COMMITS_AT_ONCE + 1):
            threads.gates[number].set()
        await taking.stop()


async def test_clients_that_wait_for_a_first_byte_come_before_a_medium(
    tmp_path: Path, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "_WORK_BYTES", 1)
    async with run_process(tmp_path / "data", origin) as process:
        waiting, rests_s = process.facilities.first_bytes, list[float]()
        waiting._clock, waiting._sleep = (lambda: 1000.0), rests_s.append
        taking = Taking(process.storage, waiting, Unwatched(), Taken())
        await take(taking, tmp_path, b"one")
        assert not rests_s
        with waiting.waited_for():
            await take(taking, tmp_path, b"two")
        await taking.finish()
    assert rests_s

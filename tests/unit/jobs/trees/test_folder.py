"""Folders whose disk hangs, or whose files change."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.memory_store import MemoryAdoption, MemoryStore

from proxy.digest import digest_of
from proxy.fills import first_bytes
from proxy.fills.first_bytes import FirstBytes
from proxy.jobs.trees.folder import Adopting, Changed, TreeFolder
from proxy.sources.document import Validators
from proxy.sources.errors import OriginOverdid, OriginUnreachable
from proxy.trees.errors import TreeFault

INDEX = "streams/v1/index.sjson"
PATIENCE_S = 30.0


class HangingStore(MemoryStore):
    """A store that adopts nothing before somebody lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.may_go_on = threading.Event()

    def adopt(self, fd: int) -> MemoryAdoption:
        self.may_go_on.wait()
        return super().adopt(fd)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a tree."""
    root = tmp_path / "left"
    (root / "streams/v1").mkdir(parents=True)
    (root / INDEX).write_bytes(b"index")
    (root / "squashfs").write_bytes(b"squashfs")
    return root


@pytest.fixture
async def folder(root: Path) -> AsyncIterator[TreeFolder]:
    """Return the folder, looked at."""
    folder = TreeFolder(root, PATIENCE_S)
    await folder.look()
    yield folder
    folder.close()


async def adopted(folder: TreeFolder, store: MemoryStore, waiting: FirstBytes | None = None) -> Adopting:
    (entry,) = (one for one in folder.entries if one.path == "squashfs")
    nobody = await asyncio.to_thread(FirstBytes, folder.root.parent / "boards" / "first-bytes")
    return await folder.adopt(entry, store, waiting or nobody)


async def test_clients_that_wait_for_a_first_byte_come_before_a_tree(
    folder: TreeFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_bytes, "_WORK_BYTES", 1)
    rests_s = list[float]()
    waiting = await asyncio.to_thread(FirstBytes, tmp_path / "board", lambda: 1000.0, rests_s.append)
    adopting = await adopted(folder, MemoryStore(), waiting)
    with waiting.waited_for():
        while await folder.hash_on(adopting):
            pass
    assert rests_s
    await adopting.end()
    waiting.close()


async def test_a_file_is_hashed_a_moment_at_a_time(folder: TreeFolder) -> None:
    adopting = await adopted(folder, MemoryStore())
    total = 0
    while count := await folder.hash_on(adopting):
        total += count
    assert (total, adopting.adoption.digest) == (8, digest_of(b"squashfs"))
    await adopting.end()
    assert await folder.hash_on(adopting) == 0


async def test_a_disk_that_says_nothing_ends_the_import_in_words(folder: TreeFolder, root: Path) -> None:
    impatient, store = TreeFolder(root, 0.1), HangingStore()
    impatient.entries = folder.entries
    try:
        with pytest.raises(TreeFault, match=r"nothing could be read for 0\.1 s"):
            await adopted(impatient, store)
    finally:
        store.may_go_on.set()
        impatient.close()


async def test_who_is_interrupted_does_not_wait_for_a_disk(folder: TreeFolder) -> None:
    store = HangingStore()
    task = asyncio.create_task(adopted(folder, store))
    await asyncio.sleep(0)
    task.cancel()
    try:
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, PATIENCE_S / 2)
    finally:
        store.may_go_on.set()


@pytest.mark.parametrize("how", ["grown", "replaced by a FIFO", "replaced by a link"])
async def test_what_is_another_file_by_now_is_not_taken(folder: TreeFolder, root: Path, how: str) -> None:
    def change() -> None:
        path = root / "squashfs"
        if how == "grown":
            path.write_bytes(b"squashfs, and more")
            return
        path.unlink()
        if how == "replaced by a FIFO":
            os.mkfifo(path)
        else:
            path.symlink_to("/etc/hostname")

    await asyncio.to_thread(change)
    with pytest.raises((Changed, OSError)):
        await adopted(folder, MemoryStore())


async def test_documents_are_read_up_to_a_size_and_never_one_that_has_changed(
    folder: TreeFolder, root: Path
) -> None:
    origin = folder.documents(5)
    fetched = await origin.fetch(INDEX, Validators())
    assert fetched is not None
    assert fetched.data == b"index"
    with pytest.raises(OriginOverdid):
        await folder.documents(4).fetch(INDEX, Validators())
    await asyncio.to_thread((root / INDEX).write_bytes, b"another index")
    with pytest.raises(OriginUnreachable, match="written while it was read"):
        await origin.fetch(INDEX, Validators())

"""A folder as an origin: what it opens and what it does not, and what it says of disks in trouble."""

import asyncio
import gc
import os
import socket
import stat
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import pytest
from support.tree import random_blocks
from support.unprivileged import as_ordinary_user
from support.upstreams import Meter

from proxy.sources.document import Validators
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginUnreachable
from proxy.sources.folder.file import FolderFile
from proxy.sources.folder.origin import FolderOrigin
from proxy.sources.folder.reader import Reader
from proxy.sources.options import UpstreamOptions
from proxy.sources.origin import ItemOptions

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

INDEX = "streams/v1/index.sjson"
OPTIONS = UpstreamOptions(stall_timeout_s=2)
SIZE = 3_000_000
DATA = b"".join(random_blocks("folder", SIZE))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a tree with an index and an item."""
    root = tmp_path / "tree"
    (root / "streams/v1").mkdir(parents=True)
    (root / INDEX).write_bytes(b"index")
    (root / "item").write_bytes(DATA)
    return root


@pytest.fixture
def reader() -> Iterator[Reader]:
    reader = Reader("test")
    yield reader
    reader.close()


def origin_of(
    folder: Path, reader: Reader, options: UpstreamOptions = OPTIONS, later_s: float = 60
) -> FolderOrigin:
    """Return a folder as an origin, at a time when so many seconds have passed."""
    return FolderOrigin(f"file://{folder}/", folder, reader, options, Meter(), lambda: time.time() + later_s)


@pytest.fixture
def origin(root: Path, reader: Reader) -> FolderOrigin:
    return origin_of(root, reader)


async def problem(origin: FolderOrigin, path: str = INDEX) -> OriginError:
    """Return why a document cannot be had."""
    with pytest.raises(OriginError) as caught:
        await origin.fetch(path, Validators())
    return caught.value


async def text(origin: FolderOrigin, path: str) -> bytes:
    found = await origin.fetch(path, Validators())
    assert found is not None
    return found.data


# Which files are opened


async def test_links_within_the_tree_are_followed(root: Path, origin: FolderOrigin) -> None:
    """Relative and absolute ones, of files and of folders."""
    (root / "relative").symlink_to("streams/v1/index.sjson")
    (root / "absolute").symlink_to(root / INDEX)
    (root / "alias").symlink_to("streams")
    for path in ("relative", "absolute", "alias/v1/index.sjson"):
        assert await text(origin, path) == b"index"


async def test_the_folder_itself_may_be_a_link(tmp_path: Path, root: Path, reader: Reader) -> None:
    (tmp_path / "current").symlink_to(root)
    assert await text(origin_of(tmp_path / "current", reader), INDEX) == b"index"


@pytest.mark.parametrize("name", ["tree_", "_", "tree 2"])
async def test_a_folder_may_have_any_name(tmp_path: Path, root: Path, reader: Reader, name: str) -> None:
    await asyncio.to_thread(root.rename, tmp_path / name)
    assert await text(origin_of(tmp_path / name, reader), INDEX) == b"index"


async def test_links_that_lead_out_of_the_tree_are_not_followed(
    tmp_path: Path, root: Path, origin: FolderOrigin
) -> None:
    """Not even to a folder whose name begins alike."""
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "tree2").mkdir()
    (tmp_path / "tree2/secret").write_bytes(b"secret")
    (root / "up").symlink_to("../secret")
    (root / "away").symlink_to("/etc/passwd")
    (root / "outside").symlink_to(tmp_path)
    (root / "beside").symlink_to("../tree2")
    for path in ("up", "away", "outside/secret", "beside/secret", "outside/tree2/secret"):
        told = await problem(origin, path)
        assert isinstance(told, OriginAbsent), told
        assert "a link there leads out of the folder" in told.problem
        with pytest.raises(OriginAbsent):
            async for _ in origin.item(path, 6).pieces(0, ItemOptions()):
                pass


async def test_a_link_that_leads_in_circles_is_nothing(root: Path, origin: FolderOrigin) -> None:
    (root / "circle").symlink_to("circle")
    (root / "dangling").symlink_to("nowhere")
    for path in ("circle", "dangling", "x" * 2000, f"{'y' * 255}/" * 20 + "z"):
        assert isinstance(await problem(origin, path), OriginAbsent)
    assert "dangling: a link there leads nowhere" in str(await problem(origin, "dangling"))
    assert "nowhere" not in str(await problem(origin, "absent"))


async def test_what_is_no_regular_file_is_neither_opened_nor_waited_for(
    root: Path, origin: FolderOrigin, reader: Reader
) -> None:
    """A FIFO would block whoever opens it, and opening a device may do something."""
    os.mkfifo(root / "fifo")
    (root / "folder").mkdir()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(root / "socket"))
        for path, what in (("fifo", "a FIFO"), ("folder", "a folder"), ("socket", "a socket")):
            told = await problem(origin, path)
            assert isinstance(told, OriginAbsent)
            assert told.problem == f"it has no file {path}: {what} is there"
    told = await problem(origin_of(Path("/dev"), reader), "zero")
    assert told.problem == "it has no file zero: a device is there"


def test_a_file_that_may_not_be_read_is_forbidden_and_not_absent(root: Path, origin: FolderOrigin) -> None:
    (root / "item").chmod(0)
    with pytest.raises(OriginForbidden, match="permission denied: let the proxy's user, number") as told:
        as_ordinary_user(FolderFile(origin.name, root, "item").open)
    assert told.value.origin == origin.name


def test_a_folder_that_may_not_be_read_is_unreachable(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir(mode=0)
    with pytest.raises(OriginUnreachable, match="permission denied"):
        as_ordinary_user(FolderFile("x", hidden / "tree", INDEX).open)


# Disks that come and go


async def test_a_disk_that_is_not_mounted_is_unreachable_until_it_is(
    tmp_path: Path, root: Path, reader: Reader
) -> None:
    """The folder may be missing, or an empty mount point."""
    folder = tmp_path / "mnt"
    origin = origin_of(folder, reader)
    told = await problem(origin)
    assert isinstance(told, OriginUnreachable)
    assert told.problem == "there is no such folder: is its disk mounted?"
    folder.mkdir()
    for path in (INDEX, "item"):
        told = await problem(origin, path)
        assert isinstance(told, OriginUnreachable)
        assert told.problem == "there is no streams/v1/ in it: is its disk mounted?"
    folder.rmdir()
    await asyncio.to_thread(root.rename, folder)
    assert await text(origin, INDEX) == b"index"


async def test_the_image_of_a_disk_is_to_be_mounted(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "maas.iso").touch()
    told = await problem(origin_of(tmp_path / "maas.iso", reader))
    assert isinstance(told, OriginUnreachable)
    assert "if it is the image of a disk, mount that" in told.problem


async def test_nothing_keeps_a_disk_from_being_unmounted(root: Path, origin: FolderOrigin) -> None:
    """No descriptor is of the tree once nothing is read."""
    await text(origin, INDEX)
    await problem(origin, "absent")
    async for _ in origin.item("item", SIZE).pieces(0, ItemOptions()):
        assert held(root)
    assert not held(root)


def held(root: Path) -> list[str]:
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [place for link in links if (place := str(link.readlink())).startswith(str(root))]


async def test_a_disk_that_fails_is_told_with_its_file(reader: Reader) -> None:
    """The kernel answers a read at the beginning of this file with an input/output error."""
    told = await problem(origin_of(Path("/proc/self"), reader), "mem")
    assert isinstance(told, OriginUnreachable)
    assert told.problem == "mem: its disk fails (input/output error): look at the kernel's log, dmesg"


async def test_a_file_server_that_is_silent_is_given_up_and_holds_up_nobody_else(
    root: Path, reader: Reader
) -> None:
    """Threads that hang are the folder's own; what they have opened late is closed."""
    silence, began = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        began.release()
        silence.wait(30)

    hanging = [reader.begin(hang) for _ in range(8)]
    for _ in hanging:
        await asyncio.to_thread(began.acquire)
    origin = origin_of(root, reader, replace(OPTIONS, stall_timeout_s=0.1))
    began_s = time.monotonic()
    told = await problem(origin)
    assert isinstance(told, OriginUnreachable)
    assert "nothing could be read for 0.1 s, [upstream] stall_timeout" in told.problem
    assert time.monotonic() - began_s < 5
    other = Reader("other")
    assert await text(origin_of(root, other), INDEX) == b"index"
    other.close()
    silence.set()
    await asyncio.gather(*hanging)
    assert await text(origin_of(root, reader), INDEX) == b"index"
    async with asyncio.timeout(5):
        while held(root):  # noqa: ASYNC110 - a thread may be closing what another has opened
            await asyncio.sleep(0.01)


async def test_what_nobody_waits_for_any_more_is_neither_kept_nor_done_when_a_disk_answers_again(
    root: Path, reader: Reader
) -> None:
    """A file server may be silent for days, and clients come again and again."""
    silence, began = threading.Event(), threading.Semaphore(0)
    done: list[threading.Event] = []

    def hang() -> None:
        began.release()
        silence.wait(30)

    hanging = [reader.begin(hang) for _ in range(8)]
    for _ in hanging:
        await asyncio.to_thread(began.acquire)
    origin = origin_of(root, reader, replace(OPTIONS, stall_timeout_s=0.01))
    kept = []
    for _ in range(10):
        asked = threading.Event()
        kept.append(weakref.ref(asked))
        reader.begin(done.append, asked).cancel()
        del asked
        assert isinstance(await problem(origin), OriginUnreachable)
    gc.collect()
    assert [one for one in kept if one() is not None] == []
    silence.set()
    await asyncio.gather(*hanging)
    assert await reader.begin(str, 1) == "1"
    assert not done


async def test_a_slow_disk_that_many_read_from_is_not_silent(root: Path) -> None:
    """Each read takes 0.2 s, and eight are done at a time, so that the last has to wait for its turn."""
    (root / "small").write_bytes(DATA[:50_000])
    reader = Meddler(lambda: time.sleep(0.2), is_always=True)
    origin = origin_of(root, reader, replace(OPTIONS, stall_timeout_s=1))

    async def read() -> bytes:
        pieces = [piece async for piece in origin.item("small", 50_000).pieces(0, ItemOptions())]
        return b"".join(piece for piece in pieces if isinstance(piece, bytes))

    began = time.monotonic()
    assert await asyncio.gather(*(read() for _ in range(100))) == [DATA[:50_000]] * 100
    assert time.monotonic() - began > 2
    reader.close()


async def test_many_readers_take_small_pieces_and_one_reader_large_ones(root: Path, reader: Reader) -> None:
    """Else the last of a hundred clients has no byte until each of the others has half a megabyte."""
    origin = origin_of(root, reader)

    async def largest_after_the_first() -> int:
        sizes = [
            len(piece)
            async for piece in origin.item("item", SIZE).pieces(0, ItemOptions())
            if isinstance(piece, bytes)
        ]
        return max(sizes[1:-1])

    alone = await largest_after_the_first()
    silence, began = threading.Event(), threading.Semaphore(0)

    def hang() -> None:
        began.release()
        silence.wait(30)

    hanging = [reader.begin(hang) for _ in range(7)]
    for _ in hanging:
        await asyncio.to_thread(began.acquire)
    others = [asyncio.create_task(largest_after_the_first()) for _ in range(30)]
    crowded = await asyncio.gather(*others)
    silence.set()
    await asyncio.gather(*hanging)
    assert alone == 512 * 1024
    assert min(crowded) == 64 * 1024


async def test_a_disk_that_is_silent_holds_nobody_longer_than_the_timeout(root: Path) -> None:
    """Nobody waits for closing either, whether there is anything to be closed or not."""
    silence = threading.Event()
    reader = Reader("silent")
    origin = origin_of(root, reader, replace(OPTIONS, stall_timeout_s=0.1))
    pieces = origin.item("item", SIZE).pieces(0, ItemOptions())
    await anext(pieces)
    hanging = [reader.begin(silence.wait, 30) for _ in range(8)]
    began = time.monotonic()
    assert isinstance(await problem(origin), OriginUnreachable)
    with pytest.raises(OriginUnreachable):
        await anext(pieces)
    assert time.monotonic() - began < 10
    silence.set()
    await asyncio.gather(*hanging)
    reader.close()


@pytest.mark.parametrize("is_replaceable", [True, False])
async def test_a_disk_that_gives_little_is_left_for_another_origin_if_there_is_one(
    root: Path, is_replaceable: bool
) -> None:
    reader = Meddler(lambda: time.sleep(0.12), is_always=True)
    origin = origin_of(root, reader, replace(OPTIONS, stall_timeout_s=0.5, least_rate_bytes=10**9))
    got = bytearray()

    async def read() -> None:
        async for piece in origin.item("item", SIZE).pieces(0, ItemOptions(is_replaceable=is_replaceable)):
            assert isinstance(piece, bytes)
            got.extend(piece)

    if is_replaceable:
        with pytest.raises(OriginUnreachable, match="it gives only"):
            await read()
        assert DATA.startswith(got)
        assert len(got) < SIZE
    else:
        await read()
        assert got == DATA
    reader.close()


async def test_a_document_may_take_only_so_long(root: Path) -> None:
    reader = Meddler(lambda: time.sleep(0.2), is_always=True)
    origin = origin_of(root, reader, replace(OPTIONS, document_timeout_s=0.1))
    told = await problem(origin)
    assert isinstance(told, OriginUnreachable)
    assert told.problem == f"{INDEX} took longer than 0.1 s"
    reader.close()


def test_a_file_that_nobody_wants_any_more_is_not_opened(root: Path) -> None:
    """As when a thread for it was free too late."""
    file = FolderFile("x", root, INDEX)
    file.end()
    file.close()
    with pytest.raises(OriginUnreachable, match="not wanted any more"):
        file.open()
    assert not held(root)


def test_a_process_ends_though_a_thread_hangs() -> None:
    program = (
        "import asyncio, threading\n"
        "from proxy.sources.folder.reader import Reader\n"
        "async def main():\n"
        "    reader, began = Reader('x'), threading.Event()\n"
        "    reader.begin(lambda: (began.set(), threading.Event().wait()))\n"
        "    await asyncio.to_thread(began.wait)\n"
        "    reader.close()\n"
        "asyncio.run(main())\n"
    )
    root = Path(__file__).parents[4]
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30, cwd=root)


async def test_the_threads_end_with_the_reader() -> None:
    reader = Reader("ending")
    await asyncio.gather(*(reader.begin(time.sleep, 0.01) for _ in range(30)))
    mine = [one for one in threading.enumerate() if one.name == "folder ending"]
    assert 1 <= len(mine) <= 8
    reader.close()
    for one in mine:
        await asyncio.to_thread(one.join, 10)
        assert not one.is_alive()


# Files that change


class Meddler(Reader):
    """Does something in the thread, just before a file is read for the second time or each time."""

    def __init__(self, meddle: Callable[[], object], *, is_always: bool = False) -> None:
        super().__init__("meddler")
        self._meddle = meddle
        self._is_always = is_always
        self._reads = 0

    def begin(self, function: Callable[[*_Args], _Result], *args: *_Args) -> asyncio.Future[_Result]:
        def call() -> _Result:
            is_read = function.__name__ == "read"
            self._reads += is_read
            if is_read and (self._is_always or self._reads == 2):
                self._meddle()
            return function(*args)

        return super().begin(call)


@pytest.mark.parametrize("how", ["grows", "shrinks", "changes"])
async def test_a_document_that_is_written_while_it_is_read_is_none(root: Path, how: str) -> None:
    """It may be half the old one and half the new one; whoever looks later finds it whole."""
    path = root / "streams/v1/list.sjson"
    path.write_bytes(DATA)
    changed = {"grows": DATA + b"x", "shrinks": DATA[:-1], "changes": bytes(SIZE)}[how]
    reader = Meddler(lambda: path.write_bytes(changed))
    origin = origin_of(root, reader)
    told = await problem(origin, "streams/v1/list.sjson")
    assert isinstance(told, OriginUnreachable)
    assert told.problem == "streams/v1/list.sjson was written while it was read"
    assert await text(origin, "streams/v1/list.sjson") == changed
    reader.close()


async def test_a_document_that_is_replaced_while_it_is_read_is_the_old_one_whole(root: Path) -> None:
    """So does rsync: it writes beside, and renames."""
    path = root / "streams/v1/list.sjson"
    path.write_bytes(DATA)
    (root / "new").write_bytes(bytes(SIZE))
    reader = Meddler(lambda: (root / "new").replace(path))
    assert await text(origin_of(root, reader), "streams/v1/list.sjson") == DATA
    reader.close()


async def test_a_copy_with_the_same_size_and_date_is_another_version(
    root: Path, origin: FolderOrigin
) -> None:
    """`rsync --times` and `cp -a` set dates as they were elsewhere."""
    known = (root / INDEX).stat()
    first = await origin.fetch(INDEX, Validators())
    assert first is not None
    for write in (lambda: replaced(root / INDEX, b"other"), lambda: (root / INDEX).write_bytes(b"third")):
        write()
        os.utime(root / INDEX, ns=(known.st_atime_ns, known.st_mtime_ns))
        now = (root / INDEX).stat()
        assert (now.st_size, now.st_mtime_ns) == (known.st_size, known.st_mtime_ns)
        found = await origin.fetch(INDEX, first.validators)
        assert found is not None
        first = found
    assert first.data == b"third"


def replaced(path: Path, data: bytes) -> None:
    draft = path.with_name("draft")
    draft.write_bytes(data)
    draft.replace(path)


@pytest.mark.parametrize("later_s", [0, -3600])
async def test_a_file_written_just_now_is_read_again(root: Path, reader: Reader, later_s: float) -> None:
    """Within one tick of the clock it may change once more without looking newer. Or the clock is wrong."""
    found = await origin_of(root, reader, later_s=later_s).fetch(INDEX, Validators())
    assert found is not None
    assert found.validators == Validators()


async def test_what_is_read_keeps_its_rights_and_dates(root: Path, origin: FolderOrigin) -> None:
    """Nothing is ever written into the tree."""
    before = {root / name: (root / name).stat() for name in (INDEX, "item", "streams/v1", ".")}
    await text(origin, INDEX)
    async for _ in origin.item("item", SIZE).pieces(0, ItemOptions()):
        pass
    for path, known in before.items():
        now = path.stat()
        assert (stat.S_IMODE(now.st_mode), now.st_mtime_ns, now.st_ctime_ns) == (
            stat.S_IMODE(known.st_mode),
            known.st_mtime_ns,
            known.st_ctime_ns,
        )

"""Power cuts: what is left of a folder when only what was synced has reached the disk.

Of what was not synced a disk may have anything. Two extremes are made of each moment: names as
they were synced last, with the bytes of then (`Cut.LEAST`), and all names as they are now, which
some file systems write first, with the bytes that were synced (`Cut.NAMES_FIRST`): a file that got
its name before its bytes were synced is empty there.
"""

import asyncio
import enum
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Any, Self

_CALLS = ("rename", "replace", "link", "unlink", "remove", "mkdir", "rmdir")
"""What changes names; between two of these, and of syncs, nothing changes that a cut would show."""
_OF_SQLITE = (".db", "-shm")
"""Files that SQLite syncs itself, or makes anew; it loses its locks on those that we open and close."""


class Cut(enum.Enum):
    """What a disk has of what was not synced."""

    LEAST = "nothing"
    NAMES_FIRST = "names without bytes"


@dataclass(frozen=True)
class Image:
    """A folder as it is after a power cut."""

    moment: str
    promises: int
    """How many promises had been made by then."""
    entries: dict[str, bytes | None]
    """The bytes of files, None for folders, by their paths in the folder; those above come before."""

    def restore(self, folder: Path) -> Path:
        """Write it to a folder that is not there yet."""
        folder.mkdir(parents=True)
        for name, data in self.entries.items():
            path = folder / name
            if data is None:
                path.mkdir()
            else:
                path.write_bytes(data)
        return folder


@dataclass(frozen=True)
class _Entry:
    """What a name in a folder stands for."""

    inode: int
    is_folder: bool


class PowerCuts:
    """Takes note of what this process has synced, for the length of the context.

    Of SQLite's log of changes (`-wal`), and of files that were replaced, only that
    outlives a cut. SQLite itself syncs behind Python's back, and only at checkpoints.
    """

    def __init__(self) -> None:
        self.is_failing = False
        """Whether the disk takes nothing."""
        self.images: list[Image] = []
        """What cuts leave of the watched folder, one after each call that changes names or syncs."""
        self._watched: Path | None = None
        self._promises: list[Callable[[Path], object]] = []
        self._synced: dict[int, bytes] = {}
        """What was in each file when it was synced last, by inode."""
        self._held: dict[int, int] = {}
        """Descriptors of these files: while they are open, no other file gets the number of their inode."""
        self._folders: dict[int, dict[str, _Entry]] = {}
        """The names in each folder when it was synced last, by its inode."""
        self._lock = RLock()
        self._originals: dict[str, Callable[..., Any]] = {}

    def __enter__(self) -> Self:
        self._originals = {name: getattr(os, name) for name in (*_CALLS, "fsync")}
        for name in _CALLS:
            setattr(os, name, self._noting(name))
        setattr(os, "fsync", self._note)  # noqa: B010 - it takes descriptors only, unlike what it stands for
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, original in self._originals.items():
            setattr(os, name, original)
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()

    def settle(self, folder: Path) -> None:
        """Take all that is in a folder as being on the disk."""
        with self._lock:
            for path in [folder, *folder.rglob("*")]:
                if not path.name.endswith(_OF_SQLITE):
                    with _opened(path) as fd:
                        self._keep(fd)

    def watch(self, folder: Path) -> None:
        """Imagine a power cut after each call from now on; what is in the folder is on the disk."""
        self.settle(folder)
        self._watched = folder

    def promise(self, check: Callable[[Path], object]) -> None:
        """Have `check` hold whenever power fails from now on; it is given the folder as it is then."""
        with self._lock:
            self._promises.append(check)
            self._imagine("promise")

    def check_all(self, scratch: Path, always: Callable[[Path], object] = lambda _: None) -> None:
        """Check after each imagined cut what always holds, and what was promised before it."""
        for number, image in enumerate(self.images):
            folder = image.restore(scratch / str(number))
            for check in (always, *self._promises[: image.promises]):
                try:
                    check(folder)
                except AssertionError as error:
                    error.add_note(f"after a power cut at: {image.moment}")
                    raise

    def cut(self, folder: Path, rebooted: Path, kind: Cut = Cut.LEAST) -> None:
        """Write to `rebooted` what a power cut would leave of a folder now."""
        with self._lock:
            Image("now", 0, dict(self._left_of(folder, kind))).restore(rebooted)

    # Notes

    def _note(self, fd: int) -> None:
        if self.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._originals["fsync"](fd)
        with self._lock:
            self._keep(fd)
            self._imagine(f"fsync {Path(f'/proc/self/fd/{fd}').readlink()}")

    def _noting(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                result = self._originals[name](*arguments, **options)
                if name == "mkdir" and "dir_fd" not in options:
                    # Its inode may have been another folder's.
                    self._folders.pop(Path(arguments[0]).stat().st_ino, None)
                self._imagine(f"{name} {' '.join(map(str, arguments))}")
            return result

        return call

    def _keep(self, fd: int) -> None:
        """Take what is in a file or folder as being on the disk."""
        path, inode = Path(f"/proc/self/fd/{fd}").readlink(), os.fstat(fd).st_ino
        if path.is_dir():
            self._folders[inode] = {
                entry.name: _Entry(entry.inode(), entry.is_dir(follow_symlinks=False))
                for entry in os.scandir(path)
            }
            return
        # A descriptor of its own: one that was duplicated would share its locks.
        with _opened(Path(f"/proc/self/fd/{fd}")) as own:
            self._synced[inode] = os.pread(own, os.fstat(own).st_size, 0)
            if inode not in self._held:
                self._held[inode] = os.dup(own)

    # Images

    def _imagine(self, moment: str) -> None:
        if self._watched is None:
            return
        with _apart_from_the_loop():
            for kind in Cut:
                entries = dict(self._left_of(self._watched, kind))
                self.images.append(Image(f"{moment} ({kind.value})", len(self._promises), entries))

    def _left_of(self, folder: Path, kind: Cut) -> Iterator[tuple[str, bytes | None]]:
        """Yield the paths that are left in a folder, with the bytes of files."""
        if kind is Cut.LEAST:
            names = self._folders.get(folder.stat().st_ino, {}) if folder.exists() else {}
            yield from self._left_by_name(folder, names, "")
            return
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                yield name, None
            elif not name.endswith("-shm"):
                yield name, self._bytes_of(path)

    def _left_by_name(
        self, folder: Path, names: dict[str, _Entry], above: str
    ) -> Iterator[tuple[str, bytes | None]]:
        """Yield what is left of a folder that had these names when it was synced last."""
        for name, entry in sorted(names.items()):
            if entry.is_folder:
                yield above + name, None
                inside = self._folders.get(entry.inode, {})
                yield from self._left_by_name(folder / name, inside, f"{above}{name}/")
            elif not name.endswith(_OF_SQLITE):
                yield above + name, self._synced.get(entry.inode, b"")
        for database in sorted(folder.glob("*.db")):
            yield above + database.name, self._bytes_of(database)

    def _bytes_of(self, path: Path) -> bytes:
        """Return what a file has on the disk: all, if it is a database, for SQLite syncs it."""
        inode = path.stat().st_ino
        if path.suffix != ".db":
            return self._synced.get(inode, b"")
        if inode not in self._held:  # Closed, it would take SQLite's locks with it.
            self._held[inode] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._held[inode], path.stat().st_size, 0)


@contextmanager
def _apart_from_the_loop() -> Iterator[None]:
    """Imagine what the disk has, which takes no time, where a call may not block."""
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)

"""Power cuts: what is left of a folder when only what was synced has reached the disk."""

import errno
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class PowerCuts:
    """Takes note of what this process has synced, for the length of the context.

    Of SQLite's log of changes (`-wal`), and of files that were replaced, only that
    outlives a cut. SQLite itself syncs behind Python's back, and only at checkpoints.
    """

    def __init__(self) -> None:
        self.is_failing = False
        """Whether the disk takes nothing."""
        self._synced: dict[int, bytes] = {}
        """What was in each file when it was synced last, by inode."""
        self._folders: dict[Path, set[Path]] = {}
        """The names in each folder when it was synced last."""
        self._fsync = os.fsync

    def __enter__(self) -> Self:
        os.fsync = self._note
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.fsync = self._fsync

    def _note(self, fd: Any) -> None:
        assert isinstance(fd, int)
        if self.is_failing:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._fsync(fd)
        path = Path(f"/proc/self/fd/{fd}").readlink()
        if path.is_dir():
            self._folders[path] = set(path.iterdir())
        else:
            self._synced[os.fstat(fd).st_ino] = path.read_bytes()

    def cut(self, folder: Path, rebooted: Path) -> None:
        """Copy a folder as it is after a power cut: logs of SQLite as synced, other files if their names are.

        A name that was not synced is not there any more.
        """
        shutil.copytree(folder, rebooted)
        for path in folder.rglob("*"):
            copy = rebooted / path.relative_to(folder)
            if path.name.endswith("-shm"):
                copy.unlink()
            elif path.name.endswith("-wal"):
                copy.write_bytes(self._synced.get(path.stat().st_ino, b""))
            elif path.suffix == ".json" and not self._has(path):
                copy.unlink()

    def _has(self, path: Path) -> bool:
        """Whether a file is on the disk, by name and by what is in it."""
        is_named = path in self._folders.get(path.parent, set())
        return is_named and self._synced.get(path.stat().st_ino) == path.read_bytes()

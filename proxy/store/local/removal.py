"""Removing a blob in two steps: its name goes at once, its bytes when the disk has freed them."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self

from proxy.store.files import remove
from proxy.system.durable import sync_directory


class LocalRemoval:
    """A blob's file that has a draft's name now, and no reader."""

    def __init__(self, folder: Path, draft: Path | None = None, fd: int | None = None) -> None:
        self._folder = folder
        self._draft = draft
        self._fd = fd

    @classmethod
    def begin(cls, path: Path, draft: Path) -> Self | None:
        """Rename a blob that nobody reads; None while somebody does. One that is gone is removed already.

        Whoever dies before the end leaves a draft without a lock, which upkeep removes.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return cls(path.parent)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.rename(draft)
        except BlockingIOError:
            os.close(fd)
            return None
        except FileNotFoundError:
            remove(path)  # It is the folder of drafts that is missing; or it went meanwhile.
        except BaseException:
            os.close(fd)
            raise
        return cls(path.parent, draft, fd)

    def finish(self) -> None:
        """Free the bytes, and make sure that the blob stays away after a power cut. Raises OSError."""
        try:
            if self._draft is not None:
                remove(self._draft)
        finally:
            if self._fd is not None:
                os.close(self._fd)
                self._fd = None
        with contextlib.suppress(FileNotFoundError):
            sync_directory(self._folder)

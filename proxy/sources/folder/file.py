"""One file of a tree in a folder: found below the folder, opened without side effects, read, closed.

Everything here blocks, and may hang where a file server is silent; `reader.py` has the
threads for it. Nothing of the tree stays open between two uses, so that its disk can be
unmounted at any time.

Only regular files below the folder are opened. Symbolic links are followed, as long as they
end below the folder. That is decided about the very file that is read, not about its name,
which may mean another one a moment later: the file is first opened without access to its
content (O_PATH), judged, and only then opened for reading. So a FIFO never blocks, a device
is never touched, and a link that leads out of the folder reveals nothing.
"""

import contextlib
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import unquote

from proxy.simplestreams.paths import url_paths
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, OriginUnreachable
from proxy.sources.folder.reasons import ABSENT, NO_RIGHTS, cause_of, explain, explain_folder

_TREE = b"streams/v1"
"""What every tree has; an empty mount point has not."""
_READ_ONLY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class Version(NamedTuple):
    """What changes whenever a file is written or replaced."""

    inode: int
    size_bytes: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the version of a file that has this status."""
        return cls(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def was_written(self, later: Self) -> bool:
        """Say whether the open file was written until `later`; losing its name is no such change."""
        return (self.size_bytes, self.modified_ns) != (later.size_bytes, later.modified_ns)


class FolderFile:
    """The file at a canonical path of the tree in `folder`, which is the origin named.

    `open` comes first, `end` and `close` last; between them, several threads may use it in turn.
    """

    def __init__(self, origin: str, folder: Path, path: str) -> None:
        self._origin = origin
        self._folder = folder
        self.path = path
        self._fd = -1
        self._using = threading.Lock()
        """Held while a thread uses the descriptor: once closed, its number may be another file's."""
        self._has_ended = False

    @property
    def is_open(self) -> bool:
        """Whether it was opened and not closed yet; after `end`, a thread that opens it closes it, too."""
        return self._fd >= 0

    def open(self) -> Version:
        """Open the file. Raises OriginAbsent, OriginForbidden or OriginUnreachable."""
        with self._used():
            if self._has_ended:
                raise OriginUnreachable(self._origin, f"{self.path} is not wanted any more")
            self._fd = self._opened()
            return Version.of(os.fstat(self._fd))

    def version(self) -> Version:
        """Return the version that the open file has now. Raises OSError."""
        with self._used():
            return Version.of(os.fstat(self._fd))

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes; none at the end of the file. Raises OSError."""
        with self._used():
            return os.pread(self._fd, count, offset)

    def end(self) -> None:
        """Let nothing be opened any more, and whichever thread uses the file last close it. Never blocks."""
        self._has_ended = True

    def close(self) -> None:
        """Close the file after `end`, unless a thread is using it, which does so itself."""
        self._close_unless_used()

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        try:
            with self._using:
                yield
        finally:
            if self._has_ended:
                self._close_unless_used()

    def _close_unless_used(self) -> None:
        if self._using.acquire(blocking=False):
            try:
                fd, self._fd = self._fd, -1
                if fd >= 0:
                    os.close(fd)
            finally:
                self._using.release()

    def _opened(self) -> int:
        try:
            with _held(os.open(self._folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)) as folder_fd:
                return self._open_below(folder_fd)
        except OSError as error:
            raise OriginUnreachable(self._origin, explain_folder(error)).due_to(cause_of(error)) from error

    def _open_below(self, folder_fd: int) -> int:
        for name in _names(self.path):
            try:
                with _held(os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=folder_fd)) as found_fd:
                    self._check_fit(found_fd, folder_fd)
                    # By its descriptor, the very file that was judged; no name is looked up again.
                    return os.open(_itself(found_fd), _READ_ONLY)
            except OSError as error:
                if error.errno not in ABSENT:
                    raise self._not_given(error) from error
        if not _has_tree(folder_fd):
            problem = "there is no streams/v1/ in it: is its disk mounted?"
            raise OriginUnreachable(self._origin, problem).due_to("folder")
        why = ": a link there leads nowhere" if self._is_link(folder_fd) else ""
        raise OriginAbsent(self._origin, f"it has no {self.path}{why}")

    def _is_link(self, folder_fd: int) -> bool:
        for name in _names(self.path):
            with contextlib.suppress(OSError):
                os.readlink(name, dir_fd=folder_fd)
                return True
        return False

    def _check_fit(self, found_fd: int, folder_fd: int) -> None:
        """Raise OriginAbsent for what is no regular file, and for what lies outside of the folder."""
        kind = stat.S_IFMT(os.fstat(found_fd).st_mode)
        if kind != stat.S_IFREG:
            what = _KINDS.get(kind, "something else")
            raise OriginAbsent(self._origin, f"it has no file {self.path}: {what} is there")
        inside = str(_itself(folder_fd).readlink()).rstrip("/") + "/"
        if not str(_itself(found_fd).readlink()).startswith(inside):
            raise OriginAbsent(self._origin, f"it has no {self.path}: a link there leads out of the folder")

    def _not_given(self, error: OSError) -> OriginError:
        kind = OriginForbidden if error.errno in NO_RIGHTS else OriginUnreachable
        return kind(self._origin, f"{self.path}: {explain(error)}").due_to(cause_of(error))


@contextlib.contextmanager
def _held(fd: int) -> Iterator[int]:
    try:
        yield fd
    finally:
        os.close(fd)


def _names(path: str) -> list[str]:
    """Return the names under which a canonical path may be stored, likeliest first.

    They are those that a web server would look for when it is asked for the path in all the
    ways in which an HTTP origin is: FAT, for one, cannot hold a colon, and `%3A` may stand for it.
    """
    return list(dict.fromkeys(unquote(spelling) for spelling in url_paths(path)))


def _itself(fd: int) -> Path:
    """Return a link to the very file that is open, which names the place where it is now."""
    return Path(f"/proc/self/fd/{fd}")


def _has_tree(folder_fd: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(_TREE, dir_fd=folder_fd).st_mode)
    except OSError:
        return False

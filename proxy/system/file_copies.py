"""Putting the bytes of open files at paths, in the first way that goes: at no cost where the disk can."""

import contextlib
import ctypes
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from proxy.system.same_bytes import Way, clone, link

Moved = Callable[[int], None]
"""Is told of each further piece; what it raises ends the copying."""

_SLICE_BYTES = 32 * 1024**2
_PIECE_BYTES = 1024**2
_CANNOT = {errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EBADF}
"""What says that the kernel copies otherwise between these two files; EBADF of what is opened to append."""


class Placer:
    """Puts bytes at paths of one file system, and remembers which ways do not go there."""

    def __init__(self, *, may_link: bool) -> None:
        """Know whether a second name will do; whoever changes the file there changes it here."""
        self._may_clone = True
        self._may_link = may_link

    def place(self, source: int, size_bytes: int, path: Path, moved: Moved) -> Way:
        """Put an open file's bytes at a path where nothing is. Raises OSError, and then nothing is there."""
        if self._may_clone:
            if _clone(source, path):
                moved(size_bytes)
                return Way.CLONED
            self._may_clone = False
        if self._may_link:
            if link(source, path):
                moved(size_bytes)
                return Way.LINKED
            self._may_link = False
        with _created(path) as target:
            copy_bytes(source, size_bytes, target, moved)
        return Way.COPIED


def place_durably(source: int, draft: Path, mode: int, modified_ns: int, moved: Moved) -> Way:
    """Put a clone or a copy of an open file at the name of a draft, durably. Raises OSError.

    Whatever `moved` raises ends it, and so does a disk that is full: then there is no draft.
    """
    draft.unlink(missing_ok=True)
    with _created(draft, 0o600) as target:
        way = Way.CLONED
        if not clone(source, target):
            way = Way.COPIED
            copy_bytes(source, os.fstat(source).st_size, target, moved)
        os.fchmod(target, mode)
        os.utime(target, ns=(modified_ns, modified_ns))
        os.fsync(target)
    return way


def write_beside(draft: Path, path: Path, data: bytes) -> None:
    """Put bytes at a path by way of a draft, so that nothing stands there in half; neither may be a link.

    A link that stands at either is replaced, and never followed. Raises OSError.
    """
    draft.unlink(missing_ok=True)
    with _created(draft) as target:
        left = memoryview(data)
        while left:
            left = left[os.write(target, left) :]
    draft.replace(path)


def copy_bytes(source: int, size_bytes: int, target: int, moved: Moved) -> None:
    """Append an open file's bytes to another, or send them through a pipe. Raises OSError."""
    ways = [_by_copy_file_range, _by_sendfile, _by_write]
    offset = 0
    while offset < size_bytes:
        count = 0
        try:
            count = ways[0](source, target, offset, min(_SLICE_BYTES, size_bytes - offset))
        except OSError as error:
            if error.errno not in _CANNOT or len(ways) == 1:
                raise
        if count:
            offset += count
            moved(count)
        elif len(ways) == 1:
            raise OSError(errno.EIO, "the file became shorter while it was read")
        else:
            del ways[0]  # Some file systems copy nothing, and call that no error.


def sync_file_system(folder: Path) -> None:
    """Have the disk take all that was written on the file system of a folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _clone(source: int, path: Path) -> bool:
    with _created(path) as target:
        if clone(source, target):
            return True
    path.unlink()
    return False


@contextlib.contextmanager
def _created(path: Path, mode: int = 0o666) -> Iterator[int]:
    """Open a new file, which goes again if anything fails."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        yield target
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(target)


def _by_copy_file_range(source: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(source, target, count, offset_src=offset)


def _by_sendfile(source: int, target: int, offset: int, count: int) -> int:
    return os.sendfile(target, source, offset, count)


def _by_write(source: int, target: int, offset: int, count: int) -> int:
    data = memoryview(os.pread(source, min(count, _PIECE_BYTES), offset))
    written = 0
    while written < len(data):
        written += os.write(target, data[written:])
    return written

"""Giving bytes that are on this machine another name or another file: at no cost where the disk can."""

import ctypes
import errno
import fcntl
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path

_FICLONE = 0x40049409
"""linux/fs.h"""
_SLICE_BYTES = 32 * 1024**2

_CANNOT = {
    errno.EXDEV, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EACCES,
    errno.EMLINK, errno.EBADF, errno.ETXTBSY, errno.ENOENT, errno.ELOOP,
}  # fmt: skip
"""What says that a way does not go here; any other error is one of the disk."""

Moved = Callable[[int], None]
"""Is told of each further piece; what it raises ends the copying."""


class Way(Enum):
    """How bytes came to be under another name. In the order in which ways are tried."""

    REFLINK = "shared"
    """Another file, whose bytes are on the disk once until one of the two is changed."""
    LINK = "linked"
    """The same file under a second name."""
    COPY = "copied"


class Placer:
    """Puts the bytes of open files at paths, in the first of some ways that goes."""

    def __init__(self, *, may_link: bool) -> None:
        """Know whether a second name will do; whoever changes the file there changes it here."""
        self._ways = [Way.REFLINK, Way.LINK] if may_link else [Way.REFLINK]

    def place(self, source: int, size_bytes: int, path: Path, moved: Moved) -> Way:
        """Put an open file's bytes at a path where nothing is. Raises OSError, and then nothing is there."""
        for way in list(self._ways):
            try:
                _clone(source, path) if way is Way.REFLINK else _link(source, path)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                if error.errno != errno.EMLINK:
                    self._ways.remove(way)
            else:
                moved(size_bytes)
                return way
        _copy(source, size_bytes, path, moved)
        return Way.COPY


def copy_bytes(source: int, size_bytes: int, target: int, moved: Moved) -> None:
    """Append an open file's bytes to another, by the kernel's own means. Raises OSError."""
    offset = 0
    ways = [_by_copy_file_range, _by_sendfile, _by_write]
    while offset < size_bytes:
        try:
            count = ways[0](source, target, offset, min(_SLICE_BYTES, size_bytes - offset))
        except OSError as error:
            if error.errno not in _CANNOT or len(ways) == 1:
                raise
            del ways[0]
            continue
        if count == 0:
            if len(ways) == 1:
                raise OSError(errno.EIO, "the file is shorter than it was")
            del ways[0]  # Some file systems say so of what they cannot copy.
            continue
        offset += count
        moved(count)


def sync_file_system(folder: Path) -> None:
    """Have the disk take all that was written below a folder. Raises OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def _clone(source: int, path: Path) -> None:
    target = _create(path)
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(target)


def _link(source: int, path: Path) -> None:
    # With a folder's descriptor Python asks the kernel to follow the link that this path is.
    folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.link(f"/proc/self/fd/{source}", path.name, dst_dir_fd=folder, follow_symlinks=True)
    finally:
        os.close(folder)


def _copy(source: int, size_bytes: int, path: Path, moved: Moved) -> None:
    target = _create(path)
    try:
        copy_bytes(source, size_bytes, target, moved)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(target)


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)


def _by_copy_file_range(source: int, target: int, offset: int, count: int) -> int:
    return os.copy_file_range(source, target, count, offset_src=offset)


def _by_sendfile(source: int, target: int, offset: int, count: int) -> int:
    return os.sendfile(target, source, offset, count)


def _by_write(source: int, target: int, offset: int, count: int) -> int:
    data = memoryview(os.pread(source, min(count, 1024**2), offset))
    written = 0
    while written < len(data):
        written += os.write(target, data[written:])
    return written

"""Small files mapped into the memory of all processes that share them."""

import errno
import mmap
import os
from pathlib import Path

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def map_file(path: Path, size: int) -> mmap.mmap:
    """Map a file of that size, made if need be. Blocks; raises OSError.

    Its space is taken now: lacking it later would kill the process. On a disk
    that has none this process gets memory of its own, which nobody shares.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        return _map_unshared(size, error)
    try:
        return map_descriptor(fd, size)
    finally:
        os.close(fd)


def map_descriptor(fd: int, size: int) -> mmap.mmap:
    """Map an open file as `map_file` does."""
    try:
        os.posix_fallocate(fd, 0, size)
        os.ftruncate(fd, size)
    except OSError as error:
        return _map_unshared(size, error)
    return mmap.mmap(fd, size)


def _map_unshared(size: int, error: OSError) -> mmap.mmap:
    """Return memory of this process's own if it was space that the disk lacks; raise the error if not."""
    if error.errno not in _NO_SPACE:
        raise error
    return mmap.mmap(-1, size)


def map_replacement(path: Path, data: bytes) -> mmap.mmap:
    """Put a file with these bytes in the place of what is there, and map it; others see the one or the other.

    On a disk without space for that, what is there stays, and this process gets memory of its own.
    """
    draft = path.with_name(f".{path.name}.new")
    fd = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(fd, 0, len(data))
        memory = mmap.mmap(fd, len(data))
        memory[:] = data
        draft.replace(path)
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if not isinstance(error, OSError) or error.errno not in _NO_SPACE:
            raise
        memory = mmap.mmap(-1, len(data))
        memory[:] = data
    finally:
        os.close(fd)
    return memory


def map_whole(path: Path) -> mmap.mmap | None:
    """Map a file as it is; None when there is none, or an empty one."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return mmap.mmap(fd, 0) if os.fstat(fd).st_size else None
    finally:
        os.close(fd)

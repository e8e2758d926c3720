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
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
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
        if error.errno not in _NO_SPACE:
            raise
        return mmap.mmap(-1, size)
    return mmap.mmap(fd, size)

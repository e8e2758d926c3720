"""Having the kernel begin to write a file to the disk, before anybody waits for that.

The kernel leaves bytes that were written in memory for up to half a minute, so a sync at
the end of a large file has all of it still to write. Nothing here makes bytes safe: that is
what a sync is for, which learns of errors met on the way too.
"""

import ctypes
import os
from pathlib import Path

_SYNC_FILE_RANGE_WRITE = 2
_begin = getattr(ctypes.CDLL(None, use_errno=True), "sync_file_range", None)
"""sync_file_range(2), which Python does not know; None where the C library does not either."""
if _begin is not None:
    _begin.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)


def begin_write_back(path: Path, start: int, stop: int) -> bool:
    """Have the bytes of [start, stop) of a file written to the disk; say whether the kernel does so.

    Blocks while the disk has too much to do already. Opens the file for itself, so that its
    owner may close it or give up its locks meanwhile.
    """
    if _begin is None:
        return False
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return bool(_begin(fd, start, stop - start, _SYNC_FILE_RANGE_WRITE) == 0)
    finally:
        os.close(fd)

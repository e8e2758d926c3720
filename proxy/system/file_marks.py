"""A mark on an open file, for other processes to see, that ends with the process that made it.

It is a lock on one byte far beyond the end of the file. The kernel drops it when
its maker closes the file, or dies; nothing of it is on the disk. So a mark is
never older than its maker: a mode or a name would outlive a power cut that took the
bytes, and would come along with a copy of the file.
"""

import contextlib
import fcntl
import os
import struct

_FLOCK = struct.Struct("@hhqqi0q")
"""struct flock of fcntl(2): type, whence, start, length, process."""
_BYTE = 2**62


def mark(fd: int) -> None:
    """Mark a file that is open for writing, for as long as it is open.

    Where the file system knows no such locks there is no mark.
    """
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _lock(fcntl.F_WRLCK))


def is_marked(fd: int) -> bool:
    """Say whether somebody else who has the file open marked it."""
    try:
        found = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _lock(fcntl.F_RDLCK))
    except OSError:
        return False
    return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)


def _lock(kind: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, _BYTE, 1, 0)

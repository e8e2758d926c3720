"""What standard error is, and what follows for those who write lines there."""

import os
import stat
from collections.abc import Mapping
from select import PIPE_BUF
from typing import NamedTuple

_STANDARD_ERROR = 2
_LARGEST_WRITE_TO_FILE_BYTES = 64 * 1024
_LARGEST_WRITE_TO_SOCKET_BYTES = 16 * 1024


class Destination(NamedTuple):
    """Where lines go."""

    fd: int
    largest_write_bytes: int
    """What is written at once stays together, whatever other processes write there meanwhile."""
    is_journal: bool
    """Whether it is systemd's journal, which takes a priority before each line."""


def standard_error(environ: Mapping[str, str], fd: int = _STANDARD_ERROR) -> Destination:
    """Return what standard error is.

    A process may be told of the journal that its parent's standard error is, and have
    another one itself: so JOURNAL_STREAM names device and inode (systemd.exec(5)).
    A write to a pipe is not divided up to PIPE_BUF (pipe(7)), one to a file never, and one to a
    local socket up to 32 KiB: Linux queues so much as one buffer, once there is room for it.
    """
    try:
        status = os.fstat(fd)
    except OSError:
        return Destination(fd, PIPE_BUF, is_journal=False)
    is_journal = environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return Destination(fd, _largest_write_bytes(status.st_mode), is_journal)


def _largest_write_bytes(mode: int) -> int:
    if stat.S_ISREG(mode):
        return _LARGEST_WRITE_TO_FILE_BYTES
    return _LARGEST_WRITE_TO_SOCKET_BYTES if stat.S_ISSOCK(mode) else PIPE_BUF

"""Having the bytes of an open file under another name at no cost: as a hard link, or as a clone.

A hard link is the very same file: whoever may write into one writes into both. A clone (FICLONE,
of Btrfs, XFS and others) shares the bytes on the disk until one of both is written. Copies are
made by `file_copies.py`.
"""

import enum
import errno
import fcntl
import os
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
_NOT_LINKED = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}
_NOT_CLONED = {
    errno.EXDEV,
    errno.EINVAL,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.ENOSYS,
    errno.EPERM,
    errno.ETXTBSY,
}


class Way(enum.Enum):
    """How bytes came under another name."""

    LINKED = "linked"
    CLONED = "cloned"
    COPIED = "copied"


def link(fd: int, name: Path) -> bool:
    """Give an open file that still has a name another one; return False where that cannot be.

    Raises OSError, such as FileExistsError.
    """
    try:
        # With a descriptor of a folder, whichever, Python has the kernel follow the link that /proc has.
        os.link(f"/proc/self/fd/{fd}", name, src_dir_fd=fd, follow_symlinks=True)
    except OSError as error:
        if error.errno in _NOT_LINKED:
            return False
        raise
    return True


def clone(source_fd: int, target_fd: int) -> bool:
    """Have an empty file share the bytes of another one; return False where that cannot be."""
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno in _NOT_CLONED:
            return False
        raise
    return True

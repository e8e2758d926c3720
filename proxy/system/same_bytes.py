"""Having the bytes of an open file under another name: as a hard link, a clone, or a copy.

A hard link is the very same file: whoever may write into one writes into both. A clone (FICLONE,
of Btrfs, XFS and others) shares the bytes on the disk until one of both is written.
"""

import contextlib
import enum
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path

_FICLONE = 0x40049409  # linux/fs.h
_PIECE_BYTES = 8 * 1024 * 1024
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


def copy(source_fd: int, target_fd: int, note: Callable[[int], None]) -> None:
    """Copy a file's bytes into an empty one, telling `note` of each piece. Raises OSError."""
    offset = 0
    while count := os.sendfile(target_fd, source_fd, offset, _PIECE_BYTES):
        offset += count
        note(count)


def place(source_fd: int, draft: Path, mode: int, modified_ns: int, note: Callable[[int], None]) -> Way:
    """Put a clone or a copy of an open file at the name of a draft, durably. Raises OSError.

    Whatever `note` raises ends it, and so does a disk that is full: then there is no draft.
    """
    draft.unlink(missing_ok=True)
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        way = Way.CLONED
        if not clone(source_fd, fd):
            way = Way.COPIED
            copy(source_fd, fd, note)
        os.fchmod(fd, mode)
        os.utime(fd, ns=(modified_ns, modified_ns))
        os.fsync(fd)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    finally:
        os.close(fd)
    return way

"""A partial file as its readers see it, in whatever process they are."""

import fcntl
import os

from proxy.store.protocols import Progress
from proxy.system.file_marks import is_marked


class LocalPartial:
    """A reader's view of a partial file, whoever writes it. `fd` stays valid after the commit."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __repr__(self) -> str:
        return f"<LocalPartial {f'of {self.progress()}' if self.fd >= 0 else 'closed'}>"

    def progress(self) -> Progress:
        """Return how far the file is."""
        status = os.fstat(self.fd)
        return Progress(
            length_bytes=status.st_size,
            is_verified=is_marked(self.fd),
            last_sign=status.st_mtime_ns,
            is_discarded=status.st_nlink == 0,
        )

    def is_same(self, fd: int) -> bool:
        """Whether another descriptor is of the very same file."""
        ours, theirs = os.fstat(self.fd), os.fstat(fd)
        return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)

    def keep(self) -> bool:
        """Protect the committed file from removal while it is read; False while its writer commits it."""
        try:
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

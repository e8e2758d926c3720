"""Taking over the bytes of a file that somebody else has made, hashed once.

    a clone     where the file system shares blocks: what happens to the file later does not matter
    a link      where nobody can write into the file any more but root: it is this user's, it is
                read-only from now on, and nobody has it open for writing (a lease proves that)
    a copy      anywhere else: hashed as it is written

A file of another user is never linked: its owner could change a blob whenever they like.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import signal
import stat
import tempfile
from pathlib import Path

from proxy.digest import Digest
from proxy.store.files import publish, remove
from proxy.store.local.folders import DRAFT_PREFIX, VERIFIED_MODE, Folders
from proxy.system.same_bytes import Way, clone, link

_PIECE_BYTES = 2 * 1024 * 1024


class LocalAdoption:
    """A file whose bytes are to become a blob; `fd` stays the caller's, who keeps it open."""

    def __init__(self, folders: Folders, fd: int) -> None:
        """Choose the way. Raises OSError."""
        self._folders = folders
        self._source_fd = fd
        self._hasher = hashlib.sha256()
        self._before = os.fstat(fd)
        # Fresh memory costs as much as filling it, and most files are small.
        self._buffer = memoryview(bytearray(min(_PIECE_BYTES, self._before.st_size + 1)))
        self.hashed_bytes = 0
        self._leased = _Leased(fd, folders.incoming)
        self._draft_fd = -1
        self._draft: Path | None = None
        if not self._begin_clone():
            self._draft = self._leased.link()
            self.way = Way.LINKED
            if self._draft is None:
                self._open_draft()
                self.way = Way.COPIED

    def step(self) -> int:
        """Hash the next piece; return how long it was, 0 at the end. Raises OSError."""
        fd = self._draft_fd if self.way is Way.CLONED else self._source_fd
        count = os.preadv(fd, [self._buffer], self.hashed_bytes)
        piece = self._buffer[:count]
        self._hasher.update(piece)
        if self.way is Way.COPIED:
            while piece:
                piece = piece[os.write(self._draft_fd, piece) :]
        self.hashed_bytes += count
        return count

    @property
    def digest(self) -> Digest:
        """The SHA-256 of what was hashed so far."""
        return Digest(self._hasher.hexdigest())

    def commit(self) -> None:
        """Make what was hashed a blob, durably. Raises OSError, also if the file was written meanwhile."""
        assert self._draft is not None  # noqa: S101 - it is committed once
        if self.way is Way.LINKED:
            self._leased.check(self.hashed_bytes)
            os.fsync(self._source_fd)
        else:
            os.fsync(self._draft_fd)
            os.fchmod(self._draft_fd, VERIFIED_MODE)
        locked_fd = self._source_fd if self.way is Way.LINKED else self._draft_fd
        publish(self._draft, self._folders.blob(self.digest), locked_fd)
        self._leased.keep()
        if self.way is Way.LINKED:
            remove(self._draft)  # Nothing is renamed where both names were of the same file.
        self._draft = None

    def close(self) -> None:
        """Let go of the file, and remove what was not committed."""
        try:
            if self._draft is not None:
                remove(self._draft)
                self._draft = None
            self._leased.close()
        finally:
            if self._draft_fd >= 0:
                os.close(self._draft_fd)
                self._draft_fd = -1

    def _open_draft(self) -> None:
        self._draft_fd, name = tempfile.mkstemp(dir=self._folders.incoming, prefix=DRAFT_PREFIX)
        self._draft = Path(name)
        fcntl.flock(self._draft_fd, fcntl.LOCK_EX)

    def _begin_clone(self) -> bool:
        if self._before.st_dev != self._folders.incoming.stat().st_dev or not self._before.st_size:
            return False
        self._open_draft()
        if clone(self._source_fd, self._draft_fd):
            self.way = Way.CLONED
            return True
        self.close()
        return False


class _Leased:
    """A file that nobody can write without our knowing it, if it can be brought to that."""

    def __init__(self, fd: int, folder: Path) -> None:
        self._fd = fd
        self._folder = folder
        self._mode: int | None = None
        """The mode to restore."""
        self._protected: os.stat_result | None = None

    def link(self) -> Path | None:
        """Protect the file and give it a draft's name; return that, None where it cannot be linked safely."""
        status = os.fstat(self._fd)
        is_ours = status.st_uid == os.geteuid() and status.st_dev == self._folder.stat().st_dev
        if not is_ours or not stat.S_ISREG(status.st_mode):
            return None
        draft = self._folder / f"{DRAFT_PREFIX}adopted-{os.getpid()}-{status.st_ino}"
        try:
            # Locked, or it would be taken for what a dead process left.
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._mode = stat.S_IMODE(status.st_mode)
            os.fchmod(self._fd, VERIFIED_MODE)
            # Whoever opens the file for writing nevertheless breaks the lease, of which a signal tells:
            # SIGIO, unless another is chosen, would end this process.
            fcntl.fcntl(self._fd, fcntl.F_SETSIG, signal.SIGURG)
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            remove(draft)
            if link(self._fd, draft):
                self._protected = os.fstat(self._fd)
                return draft
        except OSError:
            pass  # It is open for writing, or the file system knows no leases.
        self.close()
        return None

    def check(self, size_bytes: int) -> None:
        """Raise OSError if the file may have been written since it was protected."""
        now, before = os.fstat(self._fd), self._protected
        is_leased = fcntl.fcntl(self._fd, fcntl.F_GETLEASE) == fcntl.F_RDLCK
        is_same = before is not None and (now.st_size, now.st_mtime_ns, now.st_mode) == (
            size_bytes,
            before.st_mtime_ns,
            before.st_mode,
        )
        if not (is_leased and is_same):
            raise OSError(errno.ESTALE, "somebody wrote to the file while it was read")

    def keep(self) -> None:
        """Leave the file as it is now: read-only."""
        self._mode = None

    def close(self) -> None:
        """Give the lease back, and the mode unless it is kept."""
        with contextlib.suppress(OSError):
            if self._protected is not None or self._mode is not None:
                fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        with contextlib.suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        if self._mode is not None:
            with contextlib.suppress(OSError):
                os.fchmod(self._fd, self._mode)
            self._mode = None
        self._protected = None

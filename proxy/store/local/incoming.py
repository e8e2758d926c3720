"""A blob that is arriving: one file, one writer among all processes.

The writer holds an exclusive lock on the partial file. The kernel lets go of it
when the writer's process dies, however it dies; another process that follows
the same file may then take over where it ended. Everybody else reads the file
as it grows. All methods block.
"""

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from proxy.digest import Digest, Verifier
from proxy.store.files import publish, remove
from proxy.store.local.folders import PARTIAL_MODE, VERIFIED_MODE
from proxy.system.file_marks import mark
from proxy.system.write_back import begin_write_back

_PIECE_BYTES = 1024 * 1024
"""Hashed and written one after the other, so that a piece is read from cache the second time.

What arrives fast is so written as a whole and on its boundary, and lies in few large folios of the
page cache, which cost less to write and to send later on.
"""
_MOST_PARTS = os.sysconf("SC_IOV_MAX")
_REHASH_BYTES = 1024 * 1024
_TRIES = 20
"""To open a file that other processes prove and commit again and again."""

_of_thread = threading.local()


class LocalIncoming:
    """The right to write one partial file, from `acquire` until `close`."""

    def __init__(self, fd: int, path: Path, final: Path, verifier: Verifier) -> None:
        self.fd = fd
        self._path = path
        self._final = final
        self._verifier = verifier
        self._using = threading.Lock()
        """Held while a thread uses the descriptor: closed, its number may be another file's."""
        self.resumed_bytes = verifier.seen_bytes
        """How much was there before, from an earlier run or another process."""

    def __repr__(self) -> str:
        state = "open" if self.fd >= 0 else "closed"
        return f"<LocalIncoming {self._path.name:.12}… with {self.length_bytes} bytes, {state}>"

    @classmethod
    def acquire(cls, path: Path, final: Path, digest: Digest, size_bytes: int) -> Self | None:
        """Become the writer of a partial file, which will be `final`; None when another process is.

        Bytes that are already there are hashed again. A partial file longer
        than the blob is worthless and starts anew. Raises OSError.
        """
        while True:
            fd = _open_for_writing(path)
            if fd is None:
                return None
            if not _lock(fd):
                os.close(fd)
                return None
            if _is_named(fd, path):
                if os.fstat(fd).st_size <= size_bytes:
                    break
                # Not emptied: who reads it must not take what comes next for its end.
                remove(path)
            # It was committed or discarded between our open and our lock.
            os.close(fd)
        try:
            os.fchmod(fd, PARTIAL_MODE)
            verifier = Verifier(digest, size_bytes)
            _hash_again(fd, verifier)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, path, final, verifier)

    @property
    def length_bytes(self) -> int:
        """How many bytes are there."""
        return self._verifier.seen_bytes

    def append(self, *chunks: bytes) -> None:
        """Add the next bytes. Raises SizeMismatch when they are too many, OSError when the disk fails."""
        with self._using:
            piece: list[memoryview] = []
            for part in _parts(chunks, self.length_bytes):
                self._verifier.update(part)
                piece.append(part)
                if self.length_bytes % _PIECE_BYTES == 0 or len(piece) == _MOST_PARTS:
                    _write(self.fd, piece)
                    piece = []
            _write(self.fd, piece)

    def draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> None:
        """Add what `receive` puts into a buffer, until it has no more for now or `most_bytes` came.

        Raises what `append` raises.
        """
        with self._using:
            buffer = _buffer()
            stop = self.length_bytes + most_bytes
            last_boundary = stop - stop % _PIECE_BYTES
            if last_boundary > self.length_bytes:
                stop = last_boundary
            while self.length_bytes < stop:
                to_boundary = _PIECE_BYTES - self.length_bytes % _PIECE_BYTES
                piece = buffer[: min(to_boundary, stop - self.length_bytes)]
                filled_bytes = _fill(piece, receive)
                if not filled_bytes:
                    break
                self._verifier.update(piece[:filled_bytes])
                _write(self.fd, [piece[:filled_bytes]])

    def touch(self) -> None:
        """Show all who follow that the writer lives. Raises nothing: who cannot is as good as dead.

        Waits for nobody: a thread that is at work here adds bytes, which show it too, or commits what is
        proved, for which no sign is needed.
        """
        if self._using.acquire(blocking=False):
            try:
                with contextlib.suppress(OSError):
                    if self.fd >= 0:
                        os.utime(self.fd)
            finally:
                self._using.release()

    def begin_write_back(self, start: int, stop: int) -> None:
        """Have the kernel begin to write these bytes to the disk. Needs no lock: it opens the file anew.

        By that name there may be another file by now: of that too nothing is lost.
        """
        begin_write_back(self._path, start, stop)

    def verify(self) -> None:
        """Mark the file as proved, for all who follow it.

        Raises SizeMismatch or DigestMismatch, and OSError if somebody else has written to the file.
        """
        with self._using:
            self._verifier.finish()
            if os.fstat(self.fd).st_size != self.length_bytes:
                raise self._meddled("somebody else has written to it")
            mark(self.fd)

    def commit(self) -> None:
        """Make the verified blob durable under its digest. Raises OSError, also if its name is gone."""
        with self._using:
            os.fsync(self.fd)
            os.fchmod(self.fd, VERIFIED_MODE)
            if not _is_named(self.fd, self._path):
                # By that name there may be another writer's file, of which nothing is proved.
                raise self._meddled("somebody else has removed or replaced it")
            publish(self._path, self._final, self.fd)

    def discard(self) -> None:
        """Throw away what has arrived."""
        with self._using:
            # Closed, or after somebody removed it, the name may be another writer's.
            if self.fd >= 0 and _is_named(self.fd, self._path):
                remove(self._path)

    def close(self) -> None:
        """Stop being the writer; what has arrived stays, unless committed or discarded."""
        with self._using:
            if self.fd >= 0:
                if not self.length_bytes and _is_named(self.fd, self._path):
                    remove(self._path)
                os.close(self.fd)
                self.fd = -1

    def _meddled(self, problem: str) -> OSError:
        return OSError(errno.ESTALE, problem, str(self._path))


def _buffer() -> memoryview:
    """Return a buffer that is this thread's alone: fresh memory costs as much as filling it."""
    if not hasattr(_of_thread, "buffer"):
        _of_thread.buffer = memoryview(bytearray(_PIECE_BYTES))
    buffer: memoryview = _of_thread.buffer
    return buffer


def _fill(buffer: memoryview, receive: Callable[[memoryview], int]) -> int:
    filled_bytes = 0
    while filled_bytes < len(buffer) and (count := receive(buffer[filled_bytes:])):
        filled_bytes += count
    return filled_bytes


def _parts(chunks: Sequence[bytes], offset: int) -> Iterator[memoryview]:
    """Cut what comes at an offset of the file where its pieces end."""
    for chunk in chunks:
        rest = memoryview(chunk)
        while rest:
            length = _PIECE_BYTES - offset % _PIECE_BYTES
            part, rest = rest[:length], rest[length:]
            offset += len(part)
            yield part


def _write(fd: int, parts: list[memoryview]) -> None:
    while parts:
        written = os.writev(fd, parts)
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if written:
            parts[0] = parts[0][written:]


def _open_for_writing(path: Path) -> int | None:
    """Open a partial file, made if need be; None when it is about to be committed."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    for _ in range(_TRIES):
        try:
            return os.open(path, flags, PARTIAL_MODE)
        except PermissionError:
            if not _make_writable(path):
                return None
    return os.open(path, flags, PARTIAL_MODE)


def _make_writable(path: Path) -> bool:
    """Open up a file whose writer died amid its commit; say whether it may be opened.

    Needs the lock, for what a living writer commits must stay read-only. The file is hashed again
    like any other.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        if not _lock(fd):
            return False
        if _is_named(fd, path):
            os.fchmod(fd, PARTIAL_MODE)
        return True
    finally:
        os.close(fd)


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_named(fd: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _hash_again(fd: int, verifier: Verifier) -> None:
    offset = 0
    while data := os.pread(fd, _REHASH_BYTES, offset):
        verifier.update(data)
        offset += len(data)
        os.utime(fd)  # For those who follow: it may take long.

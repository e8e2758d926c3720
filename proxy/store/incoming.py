"""A blob on its way in: one file, one writer among all processes.

The writer holds an exclusive lock on the partial file. The kernel lets go of it
when the writer's process dies, however it dies; another process that follows
the same file may then take over where it ended. Everybody else reads the file
as it grows. All methods block.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from proxy.digest import Digest, Verifier
from proxy.store.files import publish, remove
from proxy.store.local import VERIFIED_MODE, LocalStore
from proxy.system.file_marks import is_marked, mark

_PIECE_BYTES = 512 * 1024
"""Hashed and written one after the other, so that a piece is read from cache the second time.

What arrives fast is so written as a whole and on its boundary, and lies in few large folios of the
page cache, which cost less to write and to send later on.
"""
_MOST_PARTS = os.sysconf("SC_IOV_MAX")
_REHASH_BYTES = 1024 * 1024
_PARTIAL_MODE = 0o644
_TRIES = 20
"""To open a file that other processes prove and commit again and again."""

_of_thread = threading.local()


class Incoming:
    """The right to write one partial file, from `acquire` until `close`."""

    def __init__(self, fd: int, path: Path, final: Path, verifier: Verifier) -> None:
        self.fd = fd
        self._path = path
        self._final = final
        self._verifier = verifier
        self._using = threading.Lock()
        """Held while a thread uses the descriptor: closed, its number may be another file's."""
        self.resumed_bytes = verifier.seen_bytes
        """How much was here before, from an earlier run or another process."""

    @classmethod
    def acquire(cls, store: LocalStore, digest: Digest, size_bytes: int) -> "Incoming | None":
        """Become the writer of a partial file; None when another process is.

        Bytes that are already there are hashed again. A partial file longer
        than the blob is worthless and starts anew.
        """
        path = store.incoming / digest
        if not store.incoming.exists():
            store.make_folders()
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
            os.fchmod(fd, _PARTIAL_MODE)
            verifier = Verifier(digest, size_bytes)
            _hash_again(fd, verifier)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, path, store.path(digest), verifier)

    @property
    def length_bytes(self) -> int:
        """How many bytes are here."""
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

    def verify(self) -> None:
        """Mark the file as proved, for all who follow it. Raises SizeMismatch or DigestMismatch."""
        with self._using:
            self._verifier.finish()
            mark(self.fd)

    def commit(self) -> None:
        """Make the verified blob durable under its digest."""
        with self._using:
            os.fsync(self.fd)
            os.fchmod(self.fd, VERIFIED_MODE)
            publish(self._path, self._final)

    def discard(self) -> None:
        """Throw away what has arrived."""
        with self._using:
            if self.fd >= 0:  # Closed, the name may be another writer's.
                remove(self._path)

    def close(self) -> None:
        """Stop being the writer; what has arrived stays, unless committed or discarded."""
        with self._using:
            if self.fd >= 0:
                if not self.length_bytes and _is_named(self.fd, self._path):
                    remove(self._path)
                os.close(self.fd)
                self.fd = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a partial file is."""

    length_bytes: int
    is_verified: bool
    """Whether its writer, which is alive and still has it open, has proved it."""
    is_discarded: bool
    """It has no name any more: it was found bad, or evicted after its commit."""


class Partial:
    """A reader's view of a partial file, whoever writes it. `fd` stays valid after the commit."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def open(cls, store: LocalStore, digest: Digest) -> "Partial | None":
        """Open the partial file of a digest; None when there is none."""
        try:
            return cls(os.open(store.incoming / digest, os.O_RDONLY | os.O_CLOEXEC))
        except FileNotFoundError:
            return None

    def look(self) -> "Progress":
        """Return how far the file is."""
        status = os.fstat(self.fd)
        return Progress(
            length_bytes=status.st_size,
            is_verified=is_marked(self.fd),
            is_discarded=status.st_nlink == 0,
        )

    def is_same(self, fd: int) -> bool:
        """Whether another descriptor is of the very same file."""
        ours, theirs = os.fstat(self.fd), os.fstat(fd)
        return (ours.st_dev, ours.st_ino) == (theirs.st_dev, theirs.st_ino)

    def keep(self) -> None:
        """Protect the committed file from removal while it is read, unless its writer still holds it."""
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def close(self) -> None:
        """Let go of the file."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


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
            return os.open(path, flags, _PARTIAL_MODE)
        except PermissionError:
            if not _make_writable(path):
                return None
    return os.open(path, flags, _PARTIAL_MODE)


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
            os.fchmod(fd, _PARTIAL_MODE)
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

"""Bytes in order: of a file that can be skipped in, or of a pipe that has to be read to its end."""

import contextlib
import os
import select
from collections.abc import Iterator
from typing import Protocol

from proxy.bundles.reading.errors import ArchiveCut, MediumFault

_SKIPPED_AT_ONCE = 1024 * 1024


class Stream(Protocol):
    """Bytes in order. All methods block, and raise MediumFault."""

    position: int
    """How many bytes have been read or skipped."""

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer than `count` only at the end."""

    def read_into(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, and return how many came: none at the end."""

    def skip(self, count: int) -> None:
        """Pass over the next bytes. Raises ArchiveCut if there are not as many."""


class FileStream:
    """A file, from its beginning. Whoever makes one keeps the descriptor open."""

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.fd = fd
        self.size_bytes = size_bytes
        self.position = 0

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer than `count` only at the end."""
        with _translated():
            data = os.pread(self.fd, min(count, self.size_bytes - self.position), self.position)
        self.position += len(data)
        return data

    def read_into(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, and return how many came."""
        with _translated():
            count = os.preadv(self.fd, [buffer], self.position)
        self.position += count
        return count

    def skip(self, count: int) -> None:
        """Pass over the next bytes without reading them."""
        if self.position + count > self.size_bytes:
            raise ArchiveCut(f"it ends after {self.size_bytes} bytes, within a file")
        self.position += count


class PipeStream:
    """A pipe, or anything else that has no places to go to. Whoever makes one keeps it open."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._stopped = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._either = select.poll()
        for one in (fd, self._stopped):
            self._either.register(one, select.POLLIN)
        self.position = 0

    def stop(self) -> None:
        """Have whoever waits for bytes, in any thread, wait no longer, now and later."""
        os.eventfd_write(self._stopped, 1)

    def close(self) -> None:
        """Let go of what `stop` needs."""
        os.close(self._stopped)

    def read(self, count: int) -> bytes:
        """Return the next bytes; fewer than `count` only at the end."""
        parts = []
        while count:
            with _translated():
                self._wait()
                part = os.read(self._fd, count)
            if not part:
                break
            parts.append(part)
            count -= len(part)
            self.position += len(part)
        return b"".join(parts)

    def read_into(self, buffer: memoryview) -> int:
        """Put the next bytes into a buffer, and return how many came."""
        with _translated():
            self._wait()
            count = os.readv(self._fd, [buffer])
        self.position += count
        return count

    def skip(self, count: int) -> None:
        """Read the next bytes, and keep none."""
        while count:
            part = self.read(min(count, _SKIPPED_AT_ONCE))
            if not part:
                raise ArchiveCut(f"it ends after {self.position} bytes, within a file")
            count -= len(part)

    def _wait(self) -> None:
        ready = {fd for fd, _ in self._either.poll()}
        if self._stopped in ready:
            raise MediumFault("nobody wants more of it")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MediumFault(f"it cannot be read: {error.strerror}") from error

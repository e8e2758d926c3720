"""Bodies: where a reply's bytes come from, and how they reach a sink.

Here are the interface and what needs no transfer: a blob in the store, a document
in memory. `filling_body.py` reads a fill that is running, `bypass_body.py` upstream
itself when the store cannot take the item. None of them ever gives a sink the end
of a reply before the bytes were proved.
"""

import contextlib
import os
from enum import Enum
from typing import NamedTuple, Protocol

from proxy.errors import ProxyError
from proxy.store.protocols import Blob
from proxy.system.page_cache import read_cached
from proxy.system.threads import Threads

_SMALL_BYTES = 1024 * 1024
_COMPARE_BYTES = 1024 * 1024


class Sink(Protocol):
    """Where bytes go: one client's connection. Both raise ConnectionError when it is gone."""

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""


class Outcome(Enum):
    """How a request was answered; the same word in logs, statistics and Cache-Status."""

    HIT = "hit"
    STALE = "stale"
    MISS = "miss"
    JOIN = "join"
    BYPASS = "bypass"


class SentDiffers(ProxyError):
    """What a client got before its transfer failed is not the beginning of what was proved after."""


class SentPart(NamedTuple):
    """The bytes of [start, stop), which a client got from a file that nothing proved."""

    fd: int
    start: int
    stop: int

    def agrees(self, offset: int, data: bytes) -> bool:
        """Whether the part agrees with `data`, which is at `offset`. Blocks."""
        start, stop = max(self.start, offset), min(self.stop, offset + len(data))
        if start >= stop:
            return True
        return os.pread(self.fd, stop - start, start) == data[start - offset : stop - offset]

    def agrees_with_file(self, fd: int, start: int, stop: int) -> bool:
        """Whether the part agrees with a file's bytes of [start, stop). Blocks."""
        while start < stop:
            data = os.pread(fd, min(_COMPARE_BYTES, stop - start), start)
            if not data or not self.agrees(start, data):
                return False
            start += len(data)
        return True

    def differs(self) -> SentDiffers:
        """Return the error that says so."""
        return SentDiffers(f"upstream sent two different versions of bytes {self.start} to {self.stop}")


class Body(Protocol):
    """The bytes of one item for one reply."""

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send the bytes of [start, stop); raises ProxyError when they cannot be had or proved.

        What was `sent` before belongs to the same reply, so the proof must be
        about it too. Raises SentDiffers when it is not.
        """

    def small_part(self, start: int, stop: int) -> bytes | None:
        """Return the bytes of [start, stop) if they are few and proved, None otherwise."""

    def proved_file(self) -> int | None:
        """Return a descriptor of the whole and proved file, to be closed by who asks; None without one."""

    async def close(self) -> None:
        """Let go of what the body holds open."""


class Opened(NamedTuple):
    """A body and how it was had."""

    body: Body
    outcome: Outcome


class StoredBody:
    """A blob that is in the store."""

    def __init__(self, blob: Blob, threads: Threads) -> None:
        self._blob = blob
        self._threads = threads

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send from the blob's file."""
        if sent is not None and not await self._threads.disk(
            sent.agrees_with_file, self._blob.fd, sent.start, sent.stop
        ):
            raise sent.differs()
        await sink.send_file(self._blob.fd, start, stop - start)

    def small_part(self, start: int, stop: int) -> bytes | None:
        """Return a small part if it is in the page cache, as what has just been sent should be."""
        part = bytearray(stop - start if stop - start <= _SMALL_BYTES else 0)
        with contextlib.suppress(OSError):
            if read_cached(self._blob.fd, part, start) == stop - start:
                return bytes(part)
        return None

    def proved_file(self) -> int | None:
        """Return a descriptor that keeps the blob's lock too, None when there is none to be had."""
        with contextlib.suppress(OSError):
            return os.dup(self._blob.fd)
        return None

    async def close(self) -> None:
        """Close the blob."""
        self._blob.close()


class MemoryBody:
    """A document that the store cannot give, as it was fetched and proved again for one client."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send from memory; what was `sent` before came from nowhere else."""
        assert sent is None  # noqa: S101 - no transfer of a document is ever continued
        await sink.send_bytes(self._data[start:stop])

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is not in the store."""
        return None

    def proved_file(self) -> None:
        """Return None, for the same reason."""

    async def close(self) -> None:
        """Nothing is held open."""

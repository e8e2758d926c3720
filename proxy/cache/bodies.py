"""Bodies: where a reply's bytes come from, and how they reach a sink.

Three sources, one interface: a blob in the store, a fill that is running, and
upstream itself when the store cannot take the item. None of them ever gives a
sink the end of a reply before the bytes were proved.
"""

import os
from collections.abc import AsyncIterator, Callable
from typing import NamedTuple, Protocol

from proxy.cache.failures import Failures
from proxy.cache.feed import HOLD_BACK_BYTES, FeedOptions
from proxy.cache.fill import Fill, FillReader
from proxy.cache.threads import Threads
from proxy.digest import DigestMismatch, SizeMismatch, Verifier
from proxy.errors import ProxyError
from proxy.store.files import StoreFault
from proxy.store.local import Blob
from proxy.upstream.pull import WrongLength

_SMALL_BYTES = 1024 * 1024


class Sink(Protocol):
    """Where bytes go: one client's connection. Both raise ConnectionError when it is gone."""

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""


class Body(Protocol):
    """The bytes of one item for one reply."""

    async def send_to(self, sink: Sink, start: int, stop: int) -> None:
        """Send the bytes of [start, stop); raises ProxyError when they cannot be had or proved."""

    def small_part(self, start: int, stop: int) -> bytes | None:
        """Return the bytes of [start, stop) if they are few and proved, None otherwise."""

    def close(self) -> None:
        """Let go of what the body holds open."""


class StoredBody:
    """A blob that is in the store."""

    def __init__(self, blob: Blob) -> None:
        self._blob = blob

    async def send_to(self, sink: Sink, start: int, stop: int) -> None:
        """Send straight from the file."""
        await sink.send_file(self._blob.fd, start, stop - start)

    def small_part(self, start: int, stop: int) -> bytes | None:
        """Return a small part, which has just been sent and so is in the page cache."""
        return os.pread(self._blob.fd, stop - start, start) if stop - start <= _SMALL_BYTES else None

    def close(self) -> None:
        """Close the blob."""
        self._blob.close()


class MemoryBody:
    """A document that the store cannot give, as it was fetched and proved again for one client."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def send_to(self, sink: Sink, start: int, stop: int) -> None:
        """Send from memory."""
        await sink.send_bytes(self._data[start:stop])

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is not in the store."""
        return None

    def close(self) -> None:
        """Nothing is held open."""


class FillingBody:
    """An item that is on its way into the store."""

    def __init__(self, reader: FillReader, feed: FeedOptions, bypass: Callable[[], "PassingBody"]) -> None:
        self._reader = reader
        self._feed = feed
        self._bypass = bypass

    async def send_to(self, sink: Sink, start: int, stop: int) -> None:
        """Send from the growing file; if the disk gives out, go on from upstream."""
        position = start
        try:
            while position < stop:
                end = await self._reader.available(position, start, stop, self._feed)
                await sink.send_file(self._reader.fd, position, end - position)
                position = end
        except StoreFault:
            sent = SentPart(self._reader.fd, start, position)
            await self._bypass().send_to(sink, position, stop, sent)

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is not in the store yet."""
        return None

    def close(self) -> None:
        """Leave the fill; it goes on without this client."""
        self._reader.close()


class SentDiffers(ProxyError):
    """What a client got before the disk gave out is not the beginning of what was proved after."""


class SentPart(NamedTuple):
    """The bytes of [start, stop), which a client got from a file that nothing proved."""

    fd: int
    start: int
    stop: int

    def compare(self, offset: int, proved: bytes) -> None:
        """Raise SentDiffers unless the part agrees with `proved`, which is at `offset`. Blocks."""
        start, stop = max(self.start, offset), min(self.stop, offset + len(proved))
        if start < stop and os.pread(self.fd, stop - start, start) != proved[start - offset : stop - offset]:
            raise SentDiffers(f"upstream sent two different versions of bytes {start} to {stop}")


class PassingBody:
    """An item that the store cannot take: from upstream to the client, proved on the way.

    Each client has a transfer of its own; there is nowhere to share one.
    """

    def __init__(self, fill: Fill, failures: Failures, threads: Threads) -> None:
        self._item = fill.item
        self._sources = fill.sources
        self._failures = failures
        self._threads = threads
        self._pull = fill.pull_from(0)
        self._chunks = self._pull.chunks()
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first bytes. Raises what the pull raises, while there is still a status to choose."""
        self._first = await anext(self._chunks, b"")

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Pull the whole item for its digest; send the part asked for, its end only after the proof.

        What was `sent` before belongs to the same reply, so the proof must be about it too.
        """
        verifier = Verifier(self._item.digest, self._item.size_bytes)
        held = bytearray()
        position = 0
        try:
            async for chunk in self._all_chunks():
                await self._threads.disk(verifier.update, chunk)
                if sent is not None:
                    await self._threads.disk(sent.compare, position, chunk)
                held += chunk[max(0, start - position) : max(0, stop - position)]
                position += len(chunk)
                ready = len(held) - HOLD_BACK_BYTES
                if ready > 0:
                    await sink.send_bytes(bytes(held[:ready]))
                    del held[:ready]
            verifier.finish()
        except (SizeMismatch, DigestMismatch, WrongLength) as error:
            if len(self._pull.contributors) == 1:
                await self._failures.remember_bad(self._item, str(error), self._pull.contributors)
            raise
        finally:
            await self._chunks.aclose()
        await sink.send_bytes(bytes(held))

    async def _all_chunks(self) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        async for chunk in self._chunks:
            yield chunk

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is nowhere."""
        return None

    def close(self) -> None:
        """Nothing is held open."""

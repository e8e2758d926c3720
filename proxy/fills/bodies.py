"""Bodies: where a reply's bytes come from, and how they reach a sink.

Three sources, one interface: a blob in the store, a fill that is running, and
upstream itself when the store cannot take the item. None of them ever gives a
sink the end of a reply before the bytes were proved.
"""

import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import NamedTuple, Protocol

from proxy.digest import DigestMismatch, SizeMismatch, Verifier
from proxy.errors import ProxyError
from proxy.fills.feed import HOLD_BACK_BYTES, FeedOptions
from proxy.fills.fill import Fill, FillReader
from proxy.fills.leader import BegunAnew
from proxy.fills.liars import Culprit, Liars
from proxy.sources.errors import WrongCopy
from proxy.sources.origin import Piece
from proxy.sources.pull import Pull
from proxy.store.files import StoreFault
from proxy.store.local import Blob
from proxy.system.threads import Threads

_SMALL_BYTES = 1024 * 1024
_COMPARE_BYTES = 1024 * 1024


class Sink(Protocol):
    """Where bytes go: one client's connection. Both raise ConnectionError when it is gone."""

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file."""

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""


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


class Successor(Protocol):
    """An opened body, in place of one whose transfer was begun anew."""

    @property
    def body(self) -> Body:
        """The body."""


class StoredBody:
    """A blob that is in the store."""

    def __init__(self, blob: Blob, threads: Threads) -> None:
        self._blob = blob
        self._threads = threads

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send straight from the file."""
        if sent is not None and not await self._threads.disk(
            sent.agrees_with_file, self._blob.fd, sent.start, sent.stop
        ):
            raise sent.differs()
        await sink.send_file(self._blob.fd, start, stop - start)

    def small_part(self, start: int, stop: int) -> bytes | None:
        """Return a small part if it is in the page cache, as what has just been sent should be."""
        part = bytearray(stop - start if stop - start <= _SMALL_BYTES else 0)
        with contextlib.suppress(OSError):
            if os.preadv(self._blob.fd, [part], start, os.RWF_NOWAIT) == stop - start:
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


class FillingBody:
    """An item that is on its way into the store."""

    def __init__(
        self,
        reader: FillReader,
        feed: FeedOptions,
        threads: Threads,
        bypass: Callable[[], "PassingBody"],
        again: Callable[[BegunAnew], Awaitable[Successor]],
    ) -> None:
        self._reader = reader
        self._feed = feed
        self._threads = threads
        self._bypass = bypass
        self._again = again
        self._successor: Body | None = None

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Send from the growing file; if the disk gives out, or the bytes are wrong, go on from upstream.

        A client that got nothing wrong yet notices nothing.
        """
        fd = self._reader.fd
        first = start if sent is None else sent.start
        given = SentPart(fd, start, start) if sent is None else sent
        try:
            if sent is not None:
                await self._compare(sent, stop)
            given = SentPart(fd, first, start)
            while given.stop < stop:
                end = await self._reader.available(given.stop, first, stop, self._feed)
                await sink.send_file(fd, given.stop, end - given.stop)
                given = SentPart(fd, first, end)
        except StoreFault:
            self._successor = self._bypass()
            await self._successor.send_to(sink, given.stop, stop, given)
        except BegunAnew as error:
            self._successor = (await self._again(error)).body
            await self._successor.send_to(sink, given.stop, stop, given)

    async def _compare(self, sent: SentPart, stop: int) -> None:
        """Return once the file has grown past what was sent, and agrees with it. Raises the fill's error."""
        position = sent.start
        while position < sent.stop:
            end = min(sent.stop, await self._reader.available(position, sent.start, stop, self._feed))
            if not await self._threads.disk(sent.agrees_with_file, self._reader.fd, position, end):
                # Which of the two is right shows at the end.
                await self._reader.proved()
                raise sent.differs()
            position = end

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is not in the store yet."""
        return None

    def proved_file(self) -> None:
        """Return None, for the same reason."""

    async def close(self) -> None:
        """Leave the fill; it goes on without this client."""
        self._reader.close()
        if self._successor is not None:
            await self._successor.close()


class PassingBody:
    """An item that the store cannot take: from upstream to the client, proved on the way.

    Each client has a transfer of its own; there is nowhere to share one.
    """

    def __init__(self, fill: Fill, liars: Liars, threads: Threads, feed: FeedOptions) -> None:
        self._item = fill.item
        self._sources = fill.sources
        self._liars = liars
        self._threads = threads
        self._pull_from = fill.pull_from
        self._first_byte_within_s = feed.first_byte_within_s
        self._pull: Pull | None = None
        self._pieces: AsyncGenerator[Piece, None] | None = None
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first bytes. Raises what the pull raises, while there is still a status to choose."""
        pull = await self._open()
        try:
            self._first = await self._read(await anext(self._begun(pull), b""))
        except WrongCopy:
            await self._liars.wrong_lengths(self._item, pull.wrong_lengths)
            raise

    async def _open(self) -> Pull:
        if self._pull is None:
            memory = await self._liars.recall(self._item)
            self._pull = self._pull_from(0, memory.doubts)
            self._pull.first_byte_within_s = self._first_byte_within_s
        return self._pull

    def _begun(self, pull: Pull) -> AsyncGenerator[Piece, None]:
        if self._pieces is None:
            self._pieces = pull.pieces()
        return self._pieces

    async def send_to(self, sink: Sink, start: int, stop: int, sent: SentPart | None = None) -> None:
        """Pull the whole item for its digest; send the part asked for, its end only after the proof.

        What was `sent` before belongs to the same reply, so the proof must be about it too.
        """
        verifier = Verifier(self._item.digest, self._item.size_bytes)
        held = bytearray()
        position = 0
        pull = await self._open()
        pieces = self._begun(pull)
        try:
            async for chunk in self._chunks(pieces):
                await self._threads.disk(verifier.update, chunk)
                if sent is not None and not await self._threads.disk(sent.agrees, position, chunk):
                    raise sent.differs()
                held += chunk[max(0, start - position) : max(0, stop - position)]
                position += len(chunk)
                ready = len(held) - HOLD_BACK_BYTES
                if ready > 0:
                    await sink.send_bytes(bytes(held[:ready]))
                    del held[:ready]
            verifier.finish()
        except WrongCopy:
            await self._liars.wrong_lengths(self._item, pull.wrong_lengths)
            raise
        except (SizeMismatch, DigestMismatch) as error:
            if len(pull.parts) == 1:
                culprit = Culprit(pull.parts[0].origin, pull.parts[0].place)
                routes = [source.route for source in self._sources]
                await self._liars.convict(self._item, culprit, str(error), routes)
            raise
        finally:
            await pieces.aclose()
        await sink.send_bytes(bytes(held))

    async def _chunks(self, pieces: AsyncIterator[Piece]) -> AsyncIterator[bytes]:
        if self._first:
            yield self._first
        async for piece in pieces:
            yield await self._read(piece)

    async def _read(self, piece: Piece) -> bytes:
        return piece if isinstance(piece, bytes) else await self._threads.disk(piece.read)

    def small_part(self, start: int, stop: int) -> bytes | None:  # noqa: ARG002
        """Return None: it is nowhere."""
        return None

    def proved_file(self) -> None:
        """Return None, for the same reason."""

    async def close(self) -> None:
        """Leave upstream, also when nothing was ever sent."""
        if self._pieces is not None:
            await self._pieces.aclose()

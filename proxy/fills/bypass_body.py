"""The body of an item that the store cannot take: from upstream to the client, proved on the way."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from proxy.digest import DigestMismatch, SizeMismatch, Verifier
from proxy.fills.bodies import SentPart, Sink
from proxy.fills.facilities import Facilities
from proxy.fills.feed import HOLD_BACK_BYTES
from proxy.fills.wrong_bytes import Culprit
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.errors import WrongCopy
from proxy.sources.origin import Piece
from proxy.sources.pull import Pull


def _never() -> bool:
    return False


class BypassBody:
    """An item that goes past the store.

    Each client has a transfer of its own; there is nowhere to share one.
    """

    def __init__(self, item: Item, sources: Sequence[Source], facilities: Facilities) -> None:
        self._item = item
        self._sources = sources
        self._facilities = facilities
        self._threads = facilities.storage.threads
        self._wrong_bytes = facilities.wrong_bytes
        self._pull: Pull | None = None
        self._pieces: AsyncGenerator[Piece, None] | None = None
        self._first = b""

    async def begin(self) -> None:
        """Wait for the first bytes. Raises what the pull raises, while there is still a status to choose."""
        pull = await self._open()
        try:
            self._first = await self._read(await anext(self._begun(pull), b""))
        except WrongCopy:
            await self._wrong_bytes.record_lengths(self._item, pull.wrong_lengths)
            raise

    async def _open(self) -> Pull:
        if self._pull is None:
            known = await self._facilities.failures.known(self._item)
            self._pull = self._facilities.pull(self._sources, self._item.size_bytes, 0, known.doubts)
            self._pull.first_byte_within_s = self._facilities.feed.first_byte_within_s
            self._pull.may_widen = _never  # It goes as fast as its client reads.
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
            await self._wrong_bytes.record_lengths(self._item, pull.wrong_lengths)
            raise
        except (SizeMismatch, DigestMismatch) as error:
            if len(pull.parts) == 1:
                culprit = Culprit(pull.parts[0].origin, pull.parts[0].place)
                routes = [source.route for source in self._sources]
                await self._wrong_bytes.convict(self._item, [culprit], str(error), routes)
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

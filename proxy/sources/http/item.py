"""One item at an HTTP origin: the bytes that are missing, however the origin answers.

Owns what HTTP makes of an item: ranges and origins without them, announced lengths,
encodings that nobody asked for. Knows nothing of other origins, nor of when to give up.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing
from typing import Protocol

from proxy.sources.document import Validators
from proxy.sources.errors import OriginError, OriginMisbehaved, OriginUnreachable, PageSent, WrongLength
from proxy.sources.freshness import Freshness
from proxy.sources.http.part import PAGE, HttpPart, Versions
from proxy.sources.http.range_refusals import RangeRefusals
from proxy.sources.http.reply import Reply
from proxy.sources.origin import ItemOptions, Piece

_LONGEST_PAGE_BYTES = 64 * 1024
"""Of a page for people without an announced length, as a rule."""


class Opener(Protocol):
    """Asks the origin for the item, from an offset on."""

    def __call__(
        self,
        *,
        offset: int,
        stop: int | None = None,
        version: Validators = ...,
        freshness: Freshness,
        avoided: Collection[str],
    ) -> AbstractAsyncContextManager[Reply]:
        """Return the context of one reply."""


class HttpItem:
    """One item at one HTTP origin, for as long as one transfer lasts.

    `border` returns a context in which every error becomes the origin's.
    """

    def __init__(
        self,
        name: str,
        size_bytes: int,
        open_reply: Opener,
        border: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._name = name
        self._size_bytes = size_bytes
        self._open = open_reply
        self._border = border
        self._refusals = RangeRefusals()
        self._versions = Versions()
        self._has_been_put_off = False
        self._reply: Reply | None = None
        self._has_begun = False

    @property
    def place(self) -> str:
        """The URL that the origin has redirected to for the latest bytes, "" if it gave them itself."""
        return "" if self._reply is None else self._reply.place

    async def pieces(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:
        """Yield the bytes from `offset` to the end of the item, each once and in order.

        Raises OriginError, which is about the question where the range may have caused it.
        """
        if self._has_begun:
            self._refusals.worked()
        self._reply, self._has_begun = None, False
        try:
            with self._border():
                async with aclosing(self._missing(offset, options)) as pieces:
                    async for piece in pieces:
                        yield piece
        except OriginError as error:
            is_page = self._reply is not None and self._reply.is_page
            if not self._has_begun:
                has_given = self._versions.are_known
                error.is_about_question = self._refusals.note(
                    offset, error, is_page=is_page, has_given=has_given
                )
            raise

    def part(self, start: int, stop: int, options: ItemOptions) -> HttpPart:
        """Return the bytes of [start, stop). Asks for nothing yet."""
        return HttpPart(
            self._name, self._size_bytes, start, stop, options, self._versions, self._open, self._border
        )

    async def _missing(self, offset: int, options: ItemOptions) -> AsyncGenerator[Piece, None]:
        """Yield what one reply adds; skip what an origin without ranges repeats."""
        asked = self._refusals.start(offset)
        async with self._open(offset=asked, freshness=options.freshness, avoided=options.avoided) as reply:
            self._reply = reply
            self._check_fits(reply, asked)
            self._check_not_put_off(reply, options)
            position = reply.start
            is_exact = position == offset and reply.length_bytes == self._size_bytes - position
            read = reply.pieces if is_exact else reply.chunks
            body = read(is_replaceable=options.is_replaceable, flow=options.flow)
            is_doubtful = reply.is_page and reply.length_bytes is None
            if not is_doubtful:
                self._versions.note(reply)
            async with (
                aclosing(body) as received,
                aclosing(self._unless_page(received, reply, asked) if is_doubtful else received) as pieces,
            ):
                async for piece in pieces:
                    if not isinstance(piece, bytes):
                        yield piece
                        position = self._size_bytes - piece.left_bytes
                        self._has_begun |= position > offset
                        continue
                    fresh = piece[max(0, offset - position) :]
                    position += len(piece)
                    if position > self._size_bytes:
                        raise self._wrong_length(position, reply)
                    if fresh:
                        self._has_begun = True
                        offset = position
                        yield fresh
            self._check_whole(reply, position, asked)

    async def _unless_page(
        self, body: AsyncIterator[Piece], reply: Reply, asked: int
    ) -> AsyncGenerator[Piece, None]:
        """Yield what calls itself a page once it is longer than one: nobody is to get a page as an item."""
        begun: bytearray | None = bytearray()
        async for piece in body:
            if begun is None or not isinstance(piece, bytes):
                yield piece
                continue
            begun += piece
            if len(begun) > _LONGEST_PAGE_BYTES:
                yield bytes(begun)
                begun = None
        if begun is not None:
            self._check_whole(reply, reply.start + len(begun), asked)
            yield bytes(begun)

    def _check_fits(self, reply: Reply, asked: int) -> None:
        """Raise OriginMisbehaved or WrongLength when a reply's headers are not those of the item."""
        if asked and reply.is_unplaced:
            raise OriginMisbehaved(
                self._name, f"asked for bytes from {asked} on, it does not say what it sends"
            )
        if reply.total is not None and reply.total != self._size_bytes:
            raise self._wrong_length(reply.total, reply)

    def _check_not_put_off(self, reply: Reply, options: ItemOptions) -> None:
        """Raise OriginMisbehaved the first time that what others may have plain comes encoded, at any length.

        Often it is the item all the same: some origins say so of files that are compressed themselves.
        """
        is_doubtful = bool(reply.codings) and reply.length_bytes is None and options.is_replaceable
        if is_doubtful and not self._has_been_put_off:
            self._has_been_put_off = True
            raise OriginMisbehaved(self._name, f"it {_encoded(reply)}")

    def _check_whole(self, reply: Reply, position: int, asked: int) -> None:
        """Raise what is wrong with a reply that ended at `position`, if anything is."""
        if position != self._size_bytes and reply.ends_for_sure:
            raise self._wrong_length(position, reply)
        if asked and position == reply.start:
            raise OriginMisbehaved(self._name, f"asked for bytes from {asked} on, it sent none")
        if position != self._size_bytes:
            raise OriginUnreachable(self._name, f"its answer ended early, at {position} bytes")

    def _wrong_length(self, actual_bytes: int, reply: Reply) -> WrongLength:
        remarks = f"; it {_encoded(reply)}" if reply.codings else ""
        if reply.is_page:
            return PageSent(
                self._name, self._size_bytes, actual_bytes, place=reply.place, remarks=remarks + PAGE
            )
        return WrongLength(self._name, self._size_bytes, actual_bytes, place=reply.place, remarks=remarks)


def _encoded(reply: Reply) -> str:
    return f"came encoded as {', '.join(reply.codings)}, which nobody asked for"

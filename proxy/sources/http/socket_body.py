"""What is left of a large body, read from its socket by the thread that hashes and writes it.

An HTTP library receives on the event loop and hands on what it has copied; at
the speed of a local network that costs more than hashing. So once a body has
begun, the rest is read past the library, which gets its connection back after
the last byte. Only over plain TCP, and only where Content-Length says where the
body ends (RFC 9112 section 6.3).

Owns the socket meanwhile. Knows nothing of whose bytes they are.

Why nobody else reads from that socket, in whatever order things happen:

1. Bytes leave a socket by its transport, while that is not paused, or by a
   descriptor of the socket. The only other descriptor is ours.
2. Those who can resume a transport have it from the connection's protocol:
   besides the response at hand, all earlier ones of that connection. A body that
   the library has buffered whole gives its connection back before it is read out,
   and whoever reads it later resumes what is another's by then.
3. So the protocol has no transport while we read, but a `_Lent`, which can only
   be closed. Who holds on to the protocol cannot resume anything.
4. Taking the transport, pausing it, and collecting what the library had received
   before happen in one step of the event loop: nothing is received in between.
5. The transport goes back after the last byte of the body, and before the library
   learns of the end and may use the connection for another request. If anything
   else has happened, it is closed, and the connection with it.
"""

import asyncio
import os
import socket
import threading
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientResponse

_LEAST_BYTES = 1024 * 1024
"""Less is left to the library. More than it reads at a time."""
_GATHERED_BYTES = 256 * 1024
_GATHER_S = 0.02
"""So long, so much is waited for: few large reads cost less than many small ones."""
_READ_BYTES = 256 * 1024


class _Lent(asyncio.Transport):
    """All that the library has of a transport while a SocketBody reads: it can close it at shutdown."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport

    def pause_reading(self) -> None:
        """Nothing: it is paused."""

    def resume_reading(self) -> None:
        """Nothing: what comes is not for who asks."""

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close it."""
        self._transport.abort()

    def abort(self) -> None:
        """Close it."""
        self._transport.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Tell of it."""
        return self._transport.get_extra_info(name, default)


class SocketBody:
    """The rest of one body; to be closed.

    `begun` comes first: the library had read it. Then `ready` is for the event loop, and `read_into`
    for any thread. What goes wrong in that thread is raised by `check`.
    """

    def __init__(self, response: ClientResponse) -> None:
        connection = response.connection
        assert connection is not None  # noqa: S101 - see is_possible
        assert connection.transport is not None  # noqa: S101
        assert connection.protocol is not None  # noqa: S101
        assert response.content_length is not None  # noqa: S101
        self._content = response.content
        self._protocol = connection.protocol
        self._transport = connection.transport
        self._lent = _Lent(self._transport)
        self.begun: list[bytes] = []
        # Each read lets the library go on with what it has put by.
        while part := self._content.read_nowait():
            self.begun.append(part)
        self.left_bytes = response.content_length - self._content.total_bytes
        """How much is still to be received."""
        self._transport.pause_reading()
        self._protocol.transport = self._lent
        self._protocol.read_timeout = None  # Until its next request, which sets it again.
        self._protocol.start_timeout()
        # The event loop watches no descriptor of a transport's, but a second one of the same connection.
        self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        self._using = threading.Lock()
        """Held while a thread receives: closed, the socket's descriptor may be another's."""
        self._error: OSError | None = None

    @staticmethod
    def is_possible(response: ClientResponse) -> bool:
        """Whether the rest of a body can be read like this, and is worth it."""
        connection = response.connection
        return (
            connection is not None
            and connection.transport is not None
            and connection.transport.get_extra_info("sslcontext") is None
            and response.content.exception() is None
            and response.content_length is not None
            and response.content_length - response.content.total_bytes >= _LEAST_BYTES
        )

    async def ready(self) -> None:
        """Return when there is something to receive."""
        gathered = min(_GATHERED_BYTES, self.left_bytes)
        try:
            async with asyncio.timeout(_GATHER_S):
                await self._received(gathered)
        except TimeoutError:
            await self._received(1)

    async def _received(self, least_bytes: int) -> None:
        """Return when so much has come, or the connection has ended."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, least_bytes)
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._socket, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._socket)

    def read_into(self, buffer: memoryview) -> int:
        """Put bytes that have come into a buffer, and return how many; 0 when there are none for now."""
        with self._using:
            if not self.left_bytes or self._error is not None:
                return 0  # What may follow is not of this body.
            try:
                count = self._socket.recv_into(buffer[: self.left_bytes])
            except BlockingIOError:
                return 0
            except OSError as error:
                self._error = error
                return 0
            if not count:
                self._error = ConnectionResetError(f"{self.left_bytes} bytes are missing")
            self.left_bytes -= count
            return count

    def read(self) -> bytes:
        """Return some of the bytes that have come, for who has no buffer; none if there are none for now."""
        buffer = bytearray(_READ_BYTES)
        return bytes(memoryview(buffer)[: self.read_into(memoryview(buffer))])

    def check(self) -> None:
        """Raise the OSError that ended it too early, if one did."""
        if self._error is not None:
            raise self._error

    def _is_quiet(self) -> bool:
        """Whether it is open, and nothing more has come, which would answer the next request."""
        try:
            self._socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go of the socket: the library has it again after the last byte, and nobody otherwise.

        It believes until its next request that it is amid the body, and would drop whatever came.
        """
        with self._using, self._socket:
            if self._protocol.transport is self._lent:
                self._protocol.transport = self._transport
            if self.left_bytes or not self._is_quiet():
                self._transport.abort()
                return
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self._transport.resume_reading()
            self._content.feed_eof()

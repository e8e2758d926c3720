"""The rest of a large body, read from its socket by the thread that hashes and writes it.

aiohttp receives on the event loop and copies what it hands on; at the speed of a
local network that costs more than hashing. So once a body has begun, the rest is read
past aiohttp, which gets its connection back after the last byte. That is done only where
Content-Length says where the body ends (RFC 9112 section 6.3), over TCP, and over TLS where its
session is ours (`tls_transport.py`): then the thread decrypts too.

Owns the socket in the meantime. Knows nothing of what the bytes are.

Why nothing else reads from that socket, whatever the order of events:

1. Bytes are read from a socket by its transport, unless that is paused, or by a
   descriptor of the socket. The only other descriptor is ours.
2. Only code that has the connection's protocol can resume the transport: the
   response at hand, and all earlier responses of that connection. A response whose
   body aiohttp has buffered whole gives its connection back before the body is read,
   and a later reader of that body would resume a transport that serves another
   response by then.
3. So while we read, the protocol has no transport but a `_CloseOnlyTransport`.
   Code that has kept the protocol cannot resume anything.
4. Taking the transport, pausing it, and collecting what aiohttp had received
   happen in one step of the event loop: nothing is received in between.
5. The transport goes back after the last byte of the body, and before aiohttp
   learns of the end and may use the connection for another request. If anything
   else has happened, the transport is closed, and the connection with it.
"""

import asyncio
import os
import socket
import threading
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientResponse

from proxy.sources.http.tls_session import TlsSession
from proxy.sources.http.tls_transport import TlsTransport

_LEAST_BYTES = 1024 * 1024
"""A smaller rest is left to aiohttp. This is more than it reads at a time."""
_GATHERED_BYTES = 256 * 1024
_GATHER_S = 0.02
"""How long to wait for that many bytes: few large reads cost less than many small ones."""
_READ_BYTES = 256 * 1024
_RECORDS_BYTES = 256 * 1024
"""How much of what is encrypted a thread receives at a time."""

_of_thread = threading.local()


class _OverTcp:
    """The bytes of a socket as they are."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self.is_dry = True
        """Whether nothing is to be had, as far as is known, before more has come to the socket."""

    def receive(self, buffer: memoryview) -> int:
        """Put bytes into a buffer; 0 at the end. Raises BlockingIOError when there are none for now."""
        self.is_dry = True
        count = self._socket.recv_into(buffer)
        self.is_dry = count < len(buffer)
        return count

    def flush(self) -> None:
        """Send nothing."""

    def has_surplus(self) -> bool:
        """Whether more has come than is on the socket."""
        return False


class _OverTls:
    """What is decrypted of the bytes of a socket."""

    def __init__(self, connection: socket.socket, transport: TlsTransport) -> None:
        self._socket = connection
        self._transport = transport
        self._session: TlsSession = transport.session

    @property
    def is_dry(self) -> bool:
        """Whether nothing is to be had before more has come to the socket."""
        return self._session.is_dry and not self._session.has_ended

    def receive(self, buffer: memoryview) -> int:
        """Put bytes into a buffer; 0 at the end. Raises BlockingIOError when there are none for now."""
        count = self._session.read_into(buffer)
        while not count and not self._session.has_ended:
            # Not much more than is wanted: where there is a limit, it holds for what is received.
            records = _records_buffer()[: len(buffer) + len(buffer) // 128 + 64]
            received = self._socket.recv_into(records)
            if not received:
                return 0
            self._session.feed(records[:received])
            count = self._session.read_into(buffer)
        return count

    def flush(self) -> None:
        """Send what the session has to say; on the event loop."""
        self._transport.flush()

    def has_surplus(self) -> bool:
        """Whether more has come than is on the socket."""
        return bool(self._session.read()) or self._session.has_ended


def _records_buffer() -> memoryview:
    """Return a buffer that is this thread's alone."""
    if not hasattr(_of_thread, "records"):
        _of_thread.records = memoryview(bytearray(_RECORDS_BYTES))
    buffer: memoryview = _of_thread.records
    return buffer


class _CloseOnlyTransport(asyncio.Transport):
    """Stands in for a transport while a SocketBody reads: aiohttp can only close it, as at shutdown."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__()
        self._transport = transport

    def pause_reading(self) -> None:
        """Do nothing: it is paused."""

    def resume_reading(self) -> None:
        """Do nothing: what comes is not for the caller."""

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
        """Return what the transport says of itself."""
        return self._transport.get_extra_info(name, default)


class SocketBody:
    """The rest of one body; to be closed.

    `begun` comes first: aiohttp had read it. Then `ready` is for the event loop, and `read_into`
    for any thread. `check` raises what went wrong in that thread.
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
        self._stand_in = _CloseOnlyTransport(self._transport)
        self.begun: list[bytes] = []
        # Each read lets aiohttp go on with what it has buffered.
        while part := self._content.read_nowait():
            self.begun.append(part)
        self.left_bytes = response.content_length - self._content.total_bytes
        """How much is still to be received."""
        self.granted_bytes = self.left_bytes
        """How much of that may be received now."""
        self._transport.pause_reading()
        self._protocol.transport = self._stand_in
        # The event loop watches no descriptor of a transport's, but a second one of the same connection.
        self._socket = socket.socket(fileno=os.dup(self._transport.get_extra_info("socket").fileno()))
        self._socket.setblocking(False)
        self._source: _OverTcp | _OverTls = (
            _OverTls(self._socket, self._transport)
            if isinstance(self._transport, TlsTransport)
            else _OverTcp(self._socket)
        )
        self._using = threading.Lock()
        """Held while a thread receives: once the socket is closed, its descriptor may be another file's."""
        self._error: OSError | None = None

    @staticmethod
    def is_possible(response: ClientResponse) -> bool:
        """Whether the rest of a body can be read like this, and is worth it."""
        connection = response.connection
        return (
            connection is not None
            and connection.transport is not None
            and _is_legible(connection.transport)
            and response.content.exception() is None
            and response.content_length is not None
            and response.content_length - response.content.total_bytes >= _LEAST_BYTES
        )

    def has_more(self) -> bool:
        """Whether, as far as is known, there is something to receive; on the event loop."""
        self._source.flush()
        return not self._source.is_dry

    async def ready(self, most_bytes: int | None = None) -> None:
        """Return when more has come to the socket: many bytes if they come soon, up to `most_bytes`."""
        gathered = min(_GATHERED_BYTES, self.left_bytes, most_bytes or _GATHERED_BYTES)
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
            most_bytes = min(self.left_bytes, self.granted_bytes)
            if not most_bytes or self._error is not None:
                return 0  # What may follow is not of this body, or not to be had yet.
            try:
                count = self._source.receive(buffer[:most_bytes])
            except BlockingIOError:
                return 0
            except OSError as error:
                self._error = error
                return 0
            if not count:
                self._error = ConnectionResetError(f"{self.left_bytes} bytes are missing")
            self.left_bytes -= count
            self.granted_bytes -= count
            return count

    def read(self, most_bytes: int = _READ_BYTES) -> bytes:
        """Return some bytes, for a caller without a buffer; none when there are none for now."""
        buffer = bytearray(most_bytes)
        return bytes(memoryview(buffer)[: self.read_into(memoryview(buffer))])

    def check(self) -> None:
        """Raise the OSError that ended it too early, if one did."""
        if self._error is not None:
            raise self._error

    def _is_quiet(self) -> bool:
        """Whether it is open, and nothing more has come, which would answer the next request."""
        try:
            if not self._source.has_surplus():
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
        """Give the socket back to aiohttp after the last byte; close it otherwise.

        Until its next request aiohttp believes that it is within the body, and would drop what comes.
        """
        with self._using, self._socket:
            if self._protocol.transport is self._stand_in:
                self._protocol.transport = self._transport
            if self.left_bytes or not self._is_quiet():
                self._transport.abort()
                return
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            self._transport.resume_reading()
            self._content.feed_eof()


def _is_legible(transport: asyncio.BaseTransport) -> bool:
    """Whether what comes on its socket is plain, or encrypted within a session that is ours."""
    return isinstance(transport, TlsTransport) or transport.get_extra_info("sslcontext") is None

"""TLS between a TCP connection to an origin and aiohttp, with a session that others can use meanwhile.

The event loop's own TLS keeps its session to itself, so that every byte would have to be
decrypted, and copied, on the loop. Here a SocketBody may take the session, and the socket,
for the rest of a body, while the transport of TCP is paused.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from proxy.sources.http.tls_session import TlsSession


class TlsTransport(asyncio.Transport):
    """What aiohttp writes to, and closes."""

    def __init__(self, protocol: "TlsProtocol", tcp: asyncio.Transport, session: TlsSession) -> None:
        super().__init__()
        self._protocol = protocol
        self._tcp = tcp
        self.session = session

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send something."""
        if not self._tcp.is_closing():
            self.session.write(bytes(data))
            self.flush()

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        """Send several things."""
        self.write(b"".join(parts))

    def flush(self) -> None:
        """Send what the session itself has to say."""
        if (records := self.session.take_outgoing()) and not self._tcp.is_closing():
            self._tcp.write(records)

    def pause_reading(self) -> None:
        """Receive nothing, and hand nothing on."""
        self._protocol.is_paused = True
        self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Receive again, and soon hand on what has come."""
        self._protocol.is_paused = False
        self._tcp.resume_reading()
        asyncio.get_running_loop().call_soon(self._protocol.hand_on)

    def is_reading(self) -> bool:
        """Whether it receives."""
        return not self._protocol.is_paused

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._tcp.is_closing()

    def close(self) -> None:
        """Close it, with a word to the origin that waits for no answer."""
        if not self._tcp.is_closing():
            self.session.close()
            self.flush()
            self._tcp.close()

    def abort(self) -> None:
        """Close it at once."""
        self._tcp.abort()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection."""
        if name == "ssl_object":
            return self.session.tls
        if name == "sslcontext":
            return self.session.tls.context
        return self._tcp.get_extra_info(name, default)


class TlsProtocol(asyncio.Protocol):
    """What a TCP connection brings: a handshake, then bytes for aiohttp's protocol, which `make` makes."""

    def __init__(
        self, make: Callable[[], asyncio.Protocol], context: ssl.SSLContext, hostname: str | None
    ) -> None:
        self._make = make
        self._session = TlsSession(context, hostname)
        self._tcp: asyncio.Transport | None = None
        self._transport: TlsTransport | None = None
        self._inner: asyncio.Protocol | None = None
        self._shaken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._error: OSError | None = None
        self._has_ended = False
        self.is_paused = False

    async def opened(self) -> tuple[TlsTransport, asyncio.Protocol]:
        """Return the transport and aiohttp's protocol once hands are shaken. Raises OSError."""
        await self._shaken
        assert self._transport is not None  # noqa: S101 - see _shake_hands
        assert self._inner is not None  # noqa: S101
        return self._transport, self._inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake."""
        self._tcp = tcp = cast("asyncio.Transport", transport)  # uvloop's are no subclass of it.
        self._transport = TlsTransport(self, tcp, self._session)
        self._shake_hands()

    def data_received(self, data: bytes) -> None:
        """Take records."""
        self._session.feed(data)
        if self._inner is None:
            self._shake_hands()
        else:
            self.hand_on()

    def eof_received(self) -> bool:
        """Take note that nothing more comes.

        Many servers end like that without a word of TLS. Anybody on the way can do so too, so aiohttp's
        protocol is told of an end only if the origin itself has said so (RFC 9112 section 9.8).
        """
        if self._inner is None:
            self._session.feed_end()
            self._shake_hands()
            return False
        self._has_ended = True
        self.hand_on()
        return True  # Closed once all that has come was handed on.

    def connection_lost(self, error: Exception | None) -> None:
        """Tell whoever has it that the connection is gone."""
        if self._inner is not None:
            self._inner.connection_lost(self._error or error)
        else:
            self._fail(error or ConnectionResetError(errno.ECONNRESET, "amid the TLS handshake"))

    def pause_writing(self) -> None:
        """Have nothing more written for now."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Let more be written."""
        if self._inner is not None:
            self._inner.resume_writing()

    def hand_on(self) -> None:
        """Hand on what has come, unless nobody wants it now."""
        if self.is_paused or self._inner is None or self._transport is None or self._transport.is_closing():
            return
        try:
            data = self._session.read()
            self._transport.flush()
        except ssl.SSLError as error:
            self._error = error
            self._transport.abort()
            return
        if data:
            self._inner.data_received(data)
        if self._session.failure is not None:
            self.hand_on()
        elif (self._has_ended or self._session.has_ended) and not self.is_paused:
            if self._session.has_ended:
                self._inner.eof_received()
            self._transport.close()

    def _shake_hands(self) -> None:
        assert self._tcp is not None  # noqa: S101 - there is a connection
        assert self._transport is not None  # noqa: S101
        try:
            is_over = self._session.shake_hands()
        except ssl.SSLError as error:
            self._fail(error)
            self._transport.flush()  # It may say why.
            self._tcp.close()
            return
        self._transport.flush()
        if is_over and not self._shaken.done():
            self._inner = self._make()
            self._inner.connection_made(self._transport)
            self._shaken.set_result(None)
            self.hand_on()

    def _fail(self, error: Exception) -> None:
        if not self._shaken.done():
            self._shaken.set_exception(error)
            self._shaken.exception()  # Or asyncio would log it, should whoever waits for it have gone.

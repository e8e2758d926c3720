"""One TLS session with an origin, whose bytes any one thread at a time may decrypt.

Owns the session's keys and what has come of it: records that are not decrypted yet. Knows no
socket and no event loop: whoever has the session brings what arrives, and sends what is to go.
"""

import contextlib
import ssl
from typing import Any, cast

_MOST_READ_BYTES = 64 * 1024
"""More than a record holds (RFC 8446 section 5.1): each read gives one at most."""


class TlsSession:
    """A client's session, verified as its context says."""

    def __init__(self, context: ssl.SSLContext, hostname: str | None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=hostname)
        self.is_dry = True
        """Whether nothing can be decrypted before more has come."""
        self.has_ended = False
        """Whether the origin has said that nothing more comes."""
        self.failure: ssl.SSLError | None = None
        """What the next read raises: what came before that is not lost."""
        self._unsent = b""
        """What cannot be encrypted before more has come: an origin may shake hands anew (TLS 1.2)."""

    def feed(self, records: bytes | memoryview) -> None:
        """Take what has come from the origin."""
        self._incoming.write(records)
        self.is_dry = False

    def feed_end(self) -> None:
        """Take note that the connection has ended."""
        self._incoming.write_eof()
        self.is_dry = False

    def shake_hands(self) -> bool:
        """Go on with the handshake; say whether it is over. Raises ssl.SSLError."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self.is_dry = True
            return False
        return True

    def read(self) -> bytes:
        """Decrypt all that has come. Raises ssl.SSLError."""
        self._check()
        parts: list[bytes] = []
        while not self.is_dry:
            try:
                part = self.tls.read(_MOST_READ_BYTES)
            except ssl.SSLWantReadError:
                self.is_dry = True
            except ssl.SSLError as error:
                self.failure = error
                if not parts:
                    raise
                break
            else:
                parts.append(part)
                self._note(len(part))
        return b"".join(parts)

    def read_into(self, buffer: memoryview) -> int:
        """Decrypt as much as has come, or as fits, into a buffer; return how much. Raises ssl.SSLError."""
        self._check()
        read = cast("Any", self.tls.read)
        count = 0
        while count < len(buffer) and not self.is_dry:
            try:
                added = read(len(buffer) - count, buffer[count:])
            except ssl.SSLWantReadError:
                self.is_dry = True
            except ssl.SSLError as error:
                self.failure = error
                if not count:
                    raise
                break
            else:
                count += added
                self._note(added)
        return count

    def write(self, data: bytes) -> None:
        """Encrypt what is to go to the origin, now or as soon as that is possible. Raises ssl.SSLError."""
        self._unsent += data
        self._encrypt()

    def close(self) -> None:
        """Say that nothing more goes to the origin."""
        self._unsent = b""
        # The origin has not answered yet, and nobody waits for that; or there is nothing to end.
        with contextlib.suppress(ssl.SSLError, ValueError):
            self.tls.unwrap()

    def take_outgoing(self) -> bytes:
        """Return what is to be sent. Raises ssl.SSLError."""
        self._encrypt()
        return self._outgoing.read()

    def _encrypt(self) -> None:
        if self._unsent:
            with contextlib.suppress(ssl.SSLWantReadError):
                self.tls.write(self._unsent)
                self._unsent = b""

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _note(self, count: int) -> None:
        """Take note of the end, which reads as nothing."""
        if not count:
            self.is_dry, self.has_ended = True, True

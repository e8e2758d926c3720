"""The head of an origin's reply: what we need of it, however carelessly it is written.

A pure reader of bytes. It knows where a reply begins and how long its body is
(RFC 9112), forgives whatever leaves no doubt about that, and drops every field
that nobody here reads. What comes out is short, printable ASCII, and says
nothing twice; what the body is worth, its hash says.
"""

import re
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from proxy.errors import ProxyError

LONGEST_HEAD_BYTES = 64 * 1024
"""Of all heads of a reply together: some may come before the final one (1xx)."""
LONGEST_FIELD = 4096
"""Longer fields are dropped, but for those that say how long the body is."""

_END = re.compile(rb"\n\r?\n")
_STATUS_LINE = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?!\d)[ \t]*([^\r\n]*)", re.IGNORECASE)
_TLS_RECORD = re.compile(rb"[\x15\x16]\x03[\x00-\x04]")
_LENGTH = re.compile(rb"\d{1,18}")
_PRINTABLE = re.compile(rb"[\t\x20-\x7e]*")
_BEYOND_ASCII = re.compile(rb"[\x80-\xff]")
_LONGEST_PHRASE = 100
_COMPRESSIONS = {b"gzip", b"x-gzip", b"deflate"}
_WITHOUT_BODY = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}

_KEPT = {
    b"content-range": b"Content-Range",
    b"content-type": b"Content-Type",
    b"date": b"Date",
    b"etag": b"ETag",
    b"last-modified": b"Last-Modified",
    b"location": b"Location",
    b"proxy-status": b"Proxy-Status",
    b"retry-after": b"Retry-After",
    b"server": b"Server",
    b"via": b"Via",
    b"warning": b"Warning",
    b"x-squid-error": b"X-Squid-Error",
}
"""The fields that somebody reads, besides those that are about the body's length and coding."""

_Fields = Sequence[tuple[bytes, bytes]]
"""Names in lower case, and values."""


class HeadError(ProxyError):
    """A head that leaves in doubt where a reply's body begins or ends."""


class HeadReader:
    """Takes bytes of one connection until the head of a reply is whole."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._seen = 0
        self._size_bytes = 0

    def feed(self, data: bytes) -> bytes | None:
        """Return the final head, written anew, with what follows it; None while it is not whole.

        Raises HeadError.
        """
        self._pending += data
        while True:
            head = self._next_head()
            if head is None:
                self._check_beginning()
                return None
            status, clean = rewritten(head)
            if status >= HTTPStatus.OK:
                return clean + self._pending
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                raise HeadError("it wants to switch to another protocol")

    def _next_head(self) -> bytes | None:
        """Take a head off what has come."""
        if not self._seen:
            blank = len(self._pending) - len(self._pending.lstrip(b"\r\n"))
            self._size_bytes += blank
            del self._pending[:blank]
        found = _END.search(self._pending, max(0, self._seen - 2))
        end = len(self._pending) if found is None else found.end()
        if self._size_bytes + end > LONGEST_HEAD_BYTES:
            raise HeadError(f"its head is longer than {LONGEST_HEAD_BYTES} bytes")
        if found is None:
            self._seen = end
            return None
        head = bytes(self._pending[:end])
        del self._pending[:end]
        self._seen = 0
        self._size_bytes += end
        return head

    def _check_beginning(self) -> None:
        """Raise HeadError for what will never be a head, however long it is waited for."""
        begun = bytes(self._pending[:5]).upper()
        if not b"HTTP/".startswith(begun):
            raise HeadError(_no_http(self._pending))


def rewritten(head: bytes) -> tuple[int, bytes]:
    """Return the status of a whole head, and the head as it should have been sent.

    Raises HeadError.
    """
    first, _, rest = head.partition(b"\n")
    found = _STATUS_LINE.match(first)
    if found is None:
        raise HeadError(_no_http(head))
    major, minor, digits, phrase = found.groups()
    status = int(digits)
    version = b"1.0" if (major, minor) == (b"1", b"0") or major == b"0" else b"1.1"
    lines = [b"HTTP/%b %b %b" % (version, digits, _shown_phrase(phrase))]
    sent = list(_read_fields(rest))
    lines += (b"%b: %b" % field for field in (*_framing(status, sent), *_meaning(sent)))
    return status, b"\r\n".join([*lines, b"", b""])


def _framing(status: int, sent: _Fields) -> Iterator[tuple[bytes, bytes]]:
    """Yield what says where the body ends, and what follows it."""
    codings = _codings(sent)
    is_chunked = codings[-1:] == [b"chunked"]
    lengths = list(_members(sent, b"content-length"))
    if status not in _WITHOUT_BODY:
        if is_chunked:
            yield b"Transfer-Encoding", b"chunked"
        elif not codings and lengths:
            yield b"Content-Length", _agreed(lengths)
    connection = set(_members(sent, b"connection"))
    if b"close" in connection or (codings and (lengths or not is_chunked)):
        # Whoever is in two minds about where a body ends is not asked twice on one connection.
        yield b"Connection", b"close"
    elif b"keep-alive" in connection:
        yield b"Connection", b"keep-alive"


def _meaning(sent: _Fields) -> Iterator[tuple[bytes, bytes]]:
    """Yield what says what the body is, each once."""
    compressions = [*_members(sent, b"content-encoding"), *_COMPRESSIONS.intersection(_codings(sent))]
    if compressions and _is_fit(joined := b", ".join(compressions)):
        yield b"Content-Encoding", joined
    seen = set()
    for name, value in sent:
        ascii_value = _BEYOND_ASCII.sub(_percent, value) if name == b"location" else value
        if name in _KEPT and name not in seen and _is_fit(ascii_value):
            seen.add(name)
            yield _KEPT[name], ascii_value


def _codings(sent: _Fields) -> list[bytes]:
    return [coding for coding in _members(sent, b"transfer-encoding") if coding != b"identity"]


def _read_fields(lines: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield names in lower case and values; lines that are no field are left out."""
    # Long ago a field could go on in the next line, indented (RFC 9112 section 5.2).
    for line in re.sub(rb"\r?\n[ \t]+", b" ", lines).split(b"\n"):
        name, colon, value = line.partition(b":")
        if colon:
            yield name.strip().lower(), value.strip()


def _members(sent: _Fields, wanted: bytes) -> Iterator[bytes]:
    """Yield the members of a list-valued field, in lower case and without parameters."""
    for name, value in sent:
        if name == wanted:
            for member in value.split(b","):
                bare = member.partition(b";")[0].strip().lower()
                if bare:
                    yield bare


def _agreed(lengths: list[bytes]) -> bytes:
    """Return the length that all agree on. Raises HeadError."""
    for length in lengths:
        if not _LENGTH.fullmatch(length):
            raise HeadError(f"its Content-Length is no number of bytes: {length[:40]!r}")
    if len(set(map(int, lengths))) > 1:
        raise HeadError(f"it announces several lengths: {b', '.join(lengths)[:80]!r}")
    return b"%d" % int(lengths[0])


def _percent(found: re.Match[bytes]) -> bytes:
    return b"%%%02X" % found[0][0]


def _is_fit(value: bytes) -> bool:
    return len(value) <= LONGEST_FIELD and _PRINTABLE.fullmatch(value) is not None


def _shown_phrase(phrase: bytes) -> bytes:
    phrase = phrase.strip()[:_LONGEST_PHRASE]
    return phrase if _PRINTABLE.fullmatch(phrase) else b""


def _no_http(data: bytes | bytearray) -> str:
    if _TLS_RECORD.match(data):
        return "its answer does not begin as HTTP does, but as TLS: its address should begin with https://"
    return f"its answer does not begin as HTTP does, but with {bytes(data[:40])!r}"

"""The envelope of a clear-signed document (RFC 4880 section 7).

gpg and gpgv call a signature good even when unsigned text stands before or
after the signed block, and stop reading at its end (measured with 2.2.40). So
the envelope is checked first: the document must be one block and nothing else.
"""

import base64
import re
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice

from proxy.errors import ProxyError

_BEGIN_MESSAGE = b"-----BEGIN PGP SIGNED MESSAGE-----"
_BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_END_SIGNATURE = b"-----END PGP SIGNATURE-----"

# Dash-escaping keeps the signed text free of lines that begin like these.
_MARKER = b"\n-----"
_BLOCK_BYTES = 1024 * 1024
_OPENING = re.compile(
    rb"-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?\n(?:Hash: [A-Za-z0-9, -]+\r?\n)*[ \t]*\r?\n"
)
_MARKERS_OF_ONE_BLOCK = 3
_LONGEST_LINE = 19_998
"""What gpg reads of a line, without its end: 2.2 passes over the rest, 2.4 calls the signature bad."""
_UNSIGNED_AT_LINE_END = b" \t\r\n"


class EnvelopeError(ProxyError):
    """A document that should be exactly one clear-signed block is not."""


def looks_clearsigned(raw: bytes) -> bool:
    """Say whether `raw` claims to be clear-signed."""
    return raw.startswith(_BEGIN_MESSAGE)


def check_envelope(raw: bytes) -> None:
    """Raise EnvelopeError unless `raw` is one clear-signed block and nothing else."""
    markers = list(islice(_markers(raw), _MARKERS_OF_ONE_BLOCK + 1))
    if not markers or markers[0][1] != _BEGIN_MESSAGE:
        raise EnvelopeError("it is not clear-signed: no 'BEGIN PGP SIGNED MESSAGE' line opens it")
    if markers[0][0] != 0:
        raise EnvelopeError("unsigned text stands before the signed block")
    if not _OPENING.match(raw):
        raise EnvelopeError("the signed block has headers other than 'Hash:'")
    if len(markers) < _MARKERS_OF_ONE_BLOCK:
        raise EnvelopeError("it is truncated: the signature does not end")
    kinds = tuple(kind for _, kind in markers[:_MARKERS_OF_ONE_BLOCK])
    if kinds != (_BEGIN_MESSAGE, _BEGIN_SIGNATURE, _END_SIGNATURE):
        raise EnvelopeError("its PGP markers are out of order")
    if len(markers) > _MARKERS_OF_ONE_BLOCK:
        raise EnvelopeError("a second block follows the signed one")
    end = markers[-1][0] + len(_END_SIGNATURE)
    if raw[end:].strip():
        raise EnvelopeError("unsigned text stands after the signed block")
    if _has_longer_line(raw, end):
        raise EnvelopeError(
            f"the signed block holds text that gpg did not check: a line of more than {_LONGEST_LINE} bytes"
        )


def _has_longer_line(raw: bytes, stop: int) -> bool:
    begin = 0
    while stop - begin > _LONGEST_LINE:
        # The last end of a line that is near enough: most lines are never looked at.
        end = raw.rfind(b"\n", begin, begin + _LONGEST_LINE + 1)
        if end < 0:
            return True
        begin = end + 1
    return False


def _markers(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield where each marker line begins, and the line. Other threads get their turn meanwhile."""
    position = 0 if raw.startswith(_MARKER[1:]) else _next_marker(raw, 0)
    while position >= 0:
        end = raw.find(b"\n", position)
        yield position, raw[position : end if end >= 0 else len(raw)].rstrip()
        position = _next_marker(raw, position)


def _next_marker(raw: bytes, after: int) -> int:
    """Return where the next marker line begins, -1 without one."""
    found = _find(raw, _MARKER, after, len(raw))
    return found if found < 0 else found + 1


def _find(raw: bytes, wanted: bytes, begin: int, end: int) -> int:
    """Return where `wanted` is in [begin, end) of `raw`, -1 if nowhere."""
    for start in range(begin, end, _BLOCK_BYTES):
        found = raw.find(wanted, start, min(start + _BLOCK_BYTES + len(wanted), end))
        if found >= 0:
            return found
    return -1


def signature_of(raw: bytes) -> bytes:
    """Return the armored signature of a block that has passed `check_envelope`."""
    return raw[raw.rindex(b"\n" + _BEGIN_SIGNATURE) + 1 :]


def with_signature(raw: bytes, packet: bytes) -> bytes:
    """Return a block that has passed `check_envelope` with one signature packet in place of its own."""
    end = raw.rindex(b"\n" + _BEGIN_SIGNATURE) + 1
    armor = base64.encodebytes(packet)
    return b"%b%b\n\n%b%b\n" % (raw[:end], _BEGIN_SIGNATURE, armor, _END_SIGNATURE)


def stated_text(raw: bytes) -> bytes:
    """Return the text that a clear-signed block shows, whoever signed it. Raises EnvelopeError."""
    check_envelope(raw)
    opening = _OPENING.match(raw)
    if opening is None:
        raise EnvelopeError("the signed block does not begin")
    end = raw.rindex(b"\n" + _BEGIN_SIGNATURE)
    return b"".join(line.removeprefix(b"- ") for line in BytesIO(raw[min(opening.end(), end) : end]))


def check_covered(raw: bytes, text: bytes) -> None:
    """Raise EnvelopeError unless the block in `raw` says `text`, what its signature covers, and no more.

    What gpg 2.2 passes over, clients that read the block would believe.
    `raw` has passed `check_envelope`.
    """
    opening = _OPENING.match(raw)
    if opening is None:
        raise EnvelopeError("the signed block does not begin")
    end = raw.rindex(b"\n" + _BEGIN_SIGNATURE)
    begin = min(opening.end(), end)
    is_escaped = _find(raw, b"\n- ", opening.end() - 1, end) >= 0
    if not is_escaped and _are_equal(raw, begin, end, text):
        return  # No line has a blank end either: one comparison will do.
    stated = (line.removeprefix(b"- ") for line in BytesIO(raw[begin:end]))
    if _without_blank_ends(stated) != _without_blank_ends(BytesIO(text)):
        raise EnvelopeError("the signed block holds text that gpg did not check")


def _are_equal(raw: bytes, begin: int, end: int, text: bytes) -> bool:
    """Whether [begin, end) of `raw` is `text`, but for its last line's end; others get their turn."""
    if end - begin != len(text) - text.endswith(b"\n"):
        return False
    return all(
        raw[start : min(start + _BLOCK_BYTES, end)]
        == text[start - begin : min(start + _BLOCK_BYTES, end) - begin]
        for start in range(begin, end, _BLOCK_BYTES)
    )


def _without_blank_ends(lines: Iterable[bytes]) -> bytes:
    """Join lines, ends included, without what a clear signature leaves out (RFC 4880 section 7.1)."""
    return b"\n".join(line.rstrip(_UNSIGNED_AT_LINE_END) for line in lines).rstrip(b"\n")

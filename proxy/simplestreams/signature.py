"""What a signature may consist of: OpenPGP signature packets (RFC 4880 section 5.2), and nothing else.

gpg reads any packets where it expects signatures. A few hundred bytes of
compressed ones keep it busy for hours, so they are looked at before it is.
"""

import base64
import binascii
import re

from proxy.errors import ProxyError

_LONGEST_BYTES = 64 * 1024
_SIGNATURE_TAG = 2
_ARMOR = re.compile(
    rb"-----BEGIN PGP SIGNATURE-----[ \t]*\r?\n"
    rb"(?:[A-Za-z]+: [^\r\n]{0,1000}\r?\n)*[ \t]*\r?\n"
    rb"((?:[A-Za-z0-9+/=]{1,76}[ \t]*\r?\n)+?)"
    rb"(?:=[A-Za-z0-9+/]{4}[ \t]*\r?\n)?"
    rb"-----END PGP SIGNATURE-----\s*"
)
_BLANKS = re.compile(rb"[ \t\r\n]+")

# Packet headers, RFC 4880 section 4.2.
_IS_PACKET = 0x80
_IS_NEW = 0x40
_OLD_LENGTH_BYTES = {0: 1, 1: 2, 2: 4}
_NEW_TWO_BYTES = 192
_NEW_PARTIAL = 224
_NEW_FOUR_BYTES = 255


class SignatureShapeError(ProxyError):
    """A signature that holds something else than signatures."""


def check_signature(data: bytes) -> None:
    """Raise SignatureShapeError unless `data`, binary or armored, is signature packets and nothing else."""
    if len(data) > _LONGEST_BYTES:
        raise SignatureShapeError(f"its signature is longer than {_LONGEST_BYTES} bytes")
    packets = data if data[:1] and data[0] & _IS_PACKET else _dearmored(data)
    position = 0
    while position < len(packets):
        tag, position = _packet(packets, position)
        if tag != _SIGNATURE_TAG:
            raise SignatureShapeError("its signature holds something else than signatures")
    if position != len(packets) or not packets:
        raise SignatureShapeError("its signature is empty, or does not end where it says")


def _dearmored(data: bytes) -> bytes:
    match = _ARMOR.fullmatch(data)
    if match is None:
        raise SignatureShapeError("its signature is neither binary nor one armored block")
    try:
        return base64.b64decode(_BLANKS.sub(b"", match[1]), validate=True)
    except binascii.Error:
        raise SignatureShapeError("the armor of its signature is no base64") from None


def _packet(data: bytes, at: int) -> tuple[int, int]:
    """Return the tag of the packet at a position, and where it ends."""
    first, rest = data[at], data[at + 1 : at + 6]
    if not first & _IS_PACKET:
        raise SignatureShapeError("its signature holds something else than packets")
    if first & _IS_NEW:
        return first & 0x3F, at + 1 + _new_length(rest)
    size = _OLD_LENGTH_BYTES.get(first & 3)
    if size is None or len(rest) < size:
        raise SignatureShapeError("its signature has a packet without a length")
    return (first >> 2) & 0x0F, at + 1 + size + int.from_bytes(rest[:size])


def _new_length(rest: bytes) -> int:
    """Return how long a packet of the new format is, its length included."""
    begin = rest[0] if rest else _NEW_PARTIAL
    if begin < _NEW_TWO_BYTES:
        return 1 + begin
    if begin < _NEW_PARTIAL and len(rest) > 1:
        return 2 + ((begin - _NEW_TWO_BYTES) << 8) + rest[1] + _NEW_TWO_BYTES
    if begin == _NEW_FOUR_BYTES and len(rest) > 4:  # noqa: PLR2004
        return 5 + int.from_bytes(rest[1:5])
    raise SignatureShapeError("its signature has a packet without a length")

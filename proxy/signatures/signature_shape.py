"""What a signature may consist of: OpenPGP signature packets (RFC 4880 section 5.2), and nothing else.

gpg reads any packets where it expects signatures. A few hundred bytes of
compressed ones keep it busy for hours, so they are looked at before it is. Pure.
"""

import base64
import binascii
import re

from proxy.errors import ProxyError
from proxy.signatures.packets import IS_PACKET, PacketError, packets

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


class SignatureShapeError(ProxyError):
    """A signature that holds something else than signatures."""


def check_signature(data: bytes) -> list[bytes]:
    """Return the signature packets that `data`, binary or armored, consists of.

    Raises SignatureShapeError for anything else.
    """
    if len(data) > _LONGEST_BYTES:
        raise SignatureShapeError(f"its signature is longer than {_LONGEST_BYTES} bytes")
    found = []
    try:
        for packet in packets(data if data[:1] and data[0] & IS_PACKET else _dearmored(data)):
            if packet.tag != _SIGNATURE_TAG:
                raise SignatureShapeError("its signature holds something else than signatures")
            found.append(packet.raw)
    except PacketError as error:
        raise SignatureShapeError(f"its signature is broken: {error}") from None
    if not found:
        raise SignatureShapeError("its signature is empty")
    return found


def _dearmored(data: bytes) -> bytes:
    match = _ARMOR.fullmatch(data)
    if match is None:
        raise SignatureShapeError("its signature is neither binary nor one armored block")
    try:
        return base64.b64decode(_BLANKS.sub(b"", match[1]), validate=True)
    except binascii.Error:
        raise SignatureShapeError("the armor of its signature is no base64") from None

"""Signatures by an ed25519 key, as gpg makes them (RFC 4880, RFC 9580), without a process for each.

Only what is signed most: text that needs no escapes, and data, by SHA-512. Who verifies them is gpg.
"""

import base64
import hashlib
import re

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_BINARY, _TEXT = 0, 1
_EDDSA, _SHA512 = 22, 10
_CREATED, _ISSUER, _ISSUER_FINGERPRINT = 2, 16, 33
_NEEDS_ESCAPES = re.compile(rb"^-|^From |[ \t\r]$", re.MULTILINE)
_FOLDED_BY_GPG = re.compile(rb"[^\n]{19000}")
_CRC_START, _CRC_POLYNOMIAL = 0xB704CE, 0x1864CFB


class Signer:
    """Signs by one key."""

    def __init__(self, secret: bytes, fingerprint: str) -> None:
        """`secret` is what gpg exports of a key without a passphrase."""
        self._key = Ed25519PrivateKey.from_private_bytes(_seed(secret))
        self._fingerprint = bytes.fromhex(fingerprint)

    @staticmethod
    def can_clearsign(text: bytes) -> bool:
        """Whether a text stands in a signed message as it is."""
        return text.endswith(b"\n") and not _NEEDS_ESCAPES.search(text) and not _FOLDED_BY_GPG.search(text)

    def clearsign(self, text: bytes, now_s: int) -> bytes:
        """Return the message that a .sjson holds."""
        lines = text.removesuffix(b"\n").replace(b"\n", b"\r\n")
        head = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
        return head + text + self._armored(lines, _TEXT, now_s)

    def detach(self, data: bytes, now_s: int) -> bytes:
        """Return the signature that a .json.gpg holds."""
        return self._armored(data, _BINARY, now_s)

    def _armored(self, data: bytes, kind: int, now_s: int) -> bytes:
        packet = self._packet(data, kind, now_s)
        encoded = base64.b64encode(packet)
        lines = [encoded[start : start + 64] for start in range(0, len(encoded), 64)]
        crc = b"=" + base64.b64encode(_crc24(packet).to_bytes(3, "big"))
        head, end = b"-----BEGIN PGP SIGNATURE-----", b"-----END PGP SIGNATURE-----"
        return b"\n".join((head, b"", *lines, crc, end, b""))

    def _packet(self, data: bytes, kind: int, now_s: int) -> bytes:
        hashed = _subpacket(_ISSUER_FINGERPRINT, b"\x04" + self._fingerprint)
        hashed += _subpacket(_CREATED, now_s.to_bytes(4, "big"))
        unhashed = _subpacket(_ISSUER, self._fingerprint[-8:])
        covered = bytes((4, kind, _EDDSA, _SHA512)) + len(hashed).to_bytes(2, "big") + hashed
        digest = hashlib.sha512(data + covered + b"\x04\xff" + len(covered).to_bytes(4, "big")).digest()
        signature = self._key.sign(digest)
        body = covered + len(unhashed).to_bytes(2, "big") + unhashed + digest[:2]
        body += _number(signature[:32]) + _number(signature[32:])
        return bytes((0x88, len(body))) + body


def _seed(secret: bytes) -> bytes:
    """Return the seed of an ed25519 key from the secret-key packet that the export begins with."""
    length, at = (secret[1], 2) if secret[0] == 0x94 else (int.from_bytes(secret[1:3], "big"), 3)
    body = secret[at : at + length]
    point = 6 + 1 + body[6]
    unprotected = point + 2 + 33
    if body[unprotected]:
        raise ValueError("the secret key is protected by a passphrase")
    bits = int.from_bytes(body[unprotected + 1 : unprotected + 3], "big")
    return body[unprotected + 3 : unprotected + 3 + (bits + 7) // 8].rjust(32, b"\0")


def _subpacket(kind: int, data: bytes) -> bytes:
    return bytes((1 + len(data), kind)) + data


def _number(data: bytes) -> bytes:
    value = int.from_bytes(data, "big")
    return value.bit_length().to_bytes(2, "big") + value.to_bytes((value.bit_length() + 7) // 8, "big")


def _crc24(data: bytes) -> int:
    crc = _CRC_START
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= _CRC_POLYNOMIAL
    return crc & 0xFFFFFF

"""What may stand where a signature is expected: gpg would unpack anything."""

import bz2
import struct
import zlib

import pytest
from support.keys import SigningKey

from proxy.signatures.signature_shape import SignatureShapeError, check_signature
from proxy.simplestreams.clearsign import signature_of


def packet(tag: int, body: bytes) -> bytes:
    """Write a packet of the new format."""
    return bytes([0xC0 | tag, 255]) + struct.pack(">I", len(body)) + body


def armored(data: bytes) -> bytes:
    """Put bytes into an armor."""
    import base64  # noqa: PLC0415

    text = base64.encodebytes(data)
    return b"-----BEGIN PGP SIGNATURE-----\n\n" + text + b"-----END PGP SIGNATURE-----\n"


LITERAL = packet(11, b"b\0\0\0\0\0" + bytes(10_000_000))
BZIP2_BOMB = packet(8, b"\x03" + bz2.compress(LITERAL))
ZIP_BOMB = packet(8, b"\x02" + zlib.compress(LITERAL))
SIGNATURE = packet(2, bytes(300))


@pytest.mark.parametrize("wrap", [bytes, armored], ids=["binary", "armored"])
@pytest.mark.parametrize(
    "data",
    [
        BZIP2_BOMB,
        packet(8, b"\x03" + bz2.compress(BZIP2_BOMB * 50)),
        ZIP_BOMB,
        SIGNATURE + BZIP2_BOMB,
        packet(11, b"b\0\0\0\0\0text"),
        b"\x88" + SIGNATURE,
        b"\x8b\x00",
        b"\xc2\xe0" + bytes(10),
        b"\xc2",
        b"\xc2\xff\0",
        SIGNATURE[:-1],
        SIGNATURE + b"\0",
        SIGNATURE * 400,
    ],
    ids=range(13),
)
def test_what_is_no_signature_is_not_given_to_gpg(data: bytes, wrap: type[bytes]) -> None:
    with pytest.raises(SignatureShapeError, match="signature"):
        check_signature(wrap(data))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n",
        armored(SIGNATURE) * 2,
        b"text\n" + armored(SIGNATURE),
        armored(SIGNATURE).replace(b"\n\n", b"\n"),
        armored(SIGNATURE).replace(b"AAAA", b"AA=A", 1),
        armored(SIGNATURE).replace(b"AAAA", b"A\0AA", 1),
        armored(SIGNATURE).replace(b"SIGNATURE", b"MESSAGE"),
    ],
    ids=range(8),
)
def test_an_armor_must_be_one_and_whole(data: bytes) -> None:
    with pytest.raises(SignatureShapeError):
        check_signature(data)


def test_real_signatures_pass(key: SigningKey) -> None:
    for one in (
        key.detach(b"text"),
        signature_of(key.clearsign(b"text\n")),
        SIGNATURE,
        packet(2, b"a") * 3,
        b"\xc2\x05hello",
        b"\xc2\xc0\x08" + bytes(200),
        b"\x88\x05hello",
        b"\x89\x00\x05hello",
        b"\x8a\x00\x00\x00\x05hello",
        armored(SIGNATURE).replace(b"\n\n", b"\nVersion: GnuPG v1\n\n").replace(b"\n", b"\r\n"),
    ):
        check_signature(one)

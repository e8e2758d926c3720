"""Signed texts, and how a keyring judges them."""

import base64
import subprocess
from pathlib import Path

import pytest

from proxy.signatures.keyring import (
    Keyring,
    SignatureError,
)
from proxy.simplestreams.clearsign import EnvelopeError

TEXT = b'{"format": "products:1.0",\n "products": {},\n "updated": "Thu, 24 Jul 2025 08:01:48 +0000"}\n'
OTHER_TEXT = b'{"format": "products:1.0",\n "products": {"evil": {}}}\n'
BEGIN_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n"
DAY_S = 24 * 3600


def open_ring(folder: Path, keys: bytes) -> Keyring:
    path = folder / "keyring-file"
    path.write_bytes(keys)
    return Keyring.open(path, folder / "homes")


def refusal(ring: Keyring, document: bytes, signature: bytes | None = None) -> str:
    """Return the reason for which a document is refused; fail when it is not."""
    try:
        accepted = ring.verify(document) if signature is None else ring.verify_detached(document, signature)
    except (EnvelopeError, SignatureError) as error:
        return str(error)
    pytest.fail(f"it was accepted: {accepted}")


def packets(raw: bytes) -> bytes:
    """Return what the armor of a clear-signed document's signature holds."""
    return dearmored(BEGIN_SIGNATURE + raw.split(BEGIN_SIGNATURE)[1])


def dearmored(signature: bytes) -> bytes:
    return subprocess.run(
        ["gpg", "--no-options", "--dearmor"], input=signature, capture_output=True, check=True
    ).stdout


def with_signatures(raw: bytes, *signatures: bytes) -> bytes:
    """Put other packets into the place of a clear-signed document's signature."""
    return raw.split(BEGIN_SIGNATURE)[0] + armored(b"".join(signatures))


def armored(content: bytes) -> bytes:
    """Dress packets as a signature; the checksum may be left out (RFC 4880 section 6)."""
    return BEGIN_SIGNATURE + b"\n" + base64.encodebytes(content) + b"-----END PGP SIGNATURE-----\n"

"""Documents and signatures that somebody has changed: real keys, a real gpg."""

from collections.abc import Callable

import pytest
from support.keys import SigningKey
from support.signed_texts import BEGIN_SIGNATURE, OTHER_TEXT, TEXT, armored, packets, refusal, with_signatures

from proxy.signatures.keyring import (
    Keyring,
)

LONGER_THAN_GPG_READS = b" " * 20_000
LINE_ENDS = (
    *(b"\n", b"\r", b"\v", b"\f", b"\x1c", b"\x1d", b"\x1e", b"\x85", b"\\n"),
    *("\x85".encode(), "\u2028".encode(), "\u2029".encode()),
)
"""Whatever some program ends a line at."""
# Changed bytes


@pytest.mark.parametrize("part", [0.0, 0.1, 0.35, 0.5, 0.77, 0.999])
def test_a_single_changed_byte_of_the_text_is_found(ring: Keyring, key: SigningKey, part: float) -> None:
    raw = bytearray(key.clearsign(TEXT))
    start = raw.index(b"\n\n") + 2
    raw[start + int(part * (len(TEXT) - 2))] ^= 0x01

    reason = refusal(ring, bytes(raw))

    assert reason == (
        f"the signature does not match: the text was changed after key {key.fingerprint[-16:]} signed it"
    )


def test_a_changed_byte_of_the_signature_is_found(ring: Keyring, key: SigningKey) -> None:
    raw = key.clearsign(TEXT)
    signature = bytearray(packets(raw))
    signature[-3] ^= 0x01

    assert "does not match" in refusal(ring, with_signatures(raw, bytes(signature)))


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda raw: b"Dear friend,\n" + raw, "unsigned text stands before the signed block"),
        (lambda raw: b"\n" + raw, "unsigned text stands before the signed block"),
        (lambda raw: b"\xef\xbb\xbf" + raw, "it is not clear-signed"),
        (lambda raw: raw + b'{"evil": 1}\n', "unsigned text stands after the signed block"),
        (lambda raw: raw.rstrip() + b' {"evil": 1}\n', "its PGP markers are out of order"),
        (lambda raw: raw + raw, "a second block follows the signed one"),
        (lambda raw: raw + b"-----BEGIN PGP SIGNED MESSAGE-----\n", "a second block follows"),
        (lambda raw: raw + BEGIN_SIGNATURE, "a second block follows"),
        (lambda raw: b"-----BEGIN PGP SIGNED MESSAGE-----\n\n" + raw, "markers are out of order"),
        (lambda raw: raw.replace(b"-----BEGIN PGP SIGNED MESSAGE-----\n", b""), "it is not clear-signed"),
        (lambda raw: raw.replace(BEGIN_SIGNATURE, b"-----BEGIN PGP MESSAGE-----\n"), "out of order"),
        (lambda _: TEXT, "it is not clear-signed"),
        (lambda _: b"", "it is not clear-signed"),
        (lambda _: b"<html><h1>503 Service Unavailable</h1></html>", "it is not clear-signed"),
    ],
)
def test_a_document_is_one_signed_block_and_nothing_else(
    ring: Keyring, key: SigningKey, tamper: Callable[[bytes], bytes], reason: str
) -> None:
    """Gpg itself calls a signature good whatever stands around the block."""
    assert reason in refusal(ring, tamper(key.clearsign(TEXT)))


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.8, 0.95])
def test_a_truncated_document_is_refused_as_truncated(ring: Keyring, key: SigningKey, kept: float) -> None:
    raw = key.clearsign(TEXT)

    assert refusal(ring, raw[: int(kept * len(raw))]) in {
        "it is not clear-signed: no 'BEGIN PGP SIGNED MESSAGE' line opens it",
        "the signed block has headers other than 'Hash:'",
        "it is truncated: the signature does not end",
        "its PGP markers are out of order",
    }


@pytest.mark.parametrize(
    "header",
    [
        b"Hash: SHA512\nComment: unsigned text\n",
        b"Hash: SHA512\nNotDashEscaped: You need GnuPG to verify this message\n",
        b"Hash: SHA512\n\f\n",
        b"Hash: SHA512\0\n",
        b"Hash: SHA512\n{}\n",
        b'Hash: {"evil": 1}\n',
        b"hash: SHA512\n",
    ],
)
def test_no_text_hides_among_the_headers(ring: Keyring, key: SigningKey, header: bytes) -> None:
    raw = key.clearsign(TEXT).replace(b"Hash: SHA512\n", header)

    assert refusal(ring, raw) == "the signed block has headers other than 'Hash:'"


@pytest.mark.parametrize(
    "header", [b"", b"Hash: SHA1\n", b"Hash: SHA256\n", b"Hash: SHA512\nHash: evil words\n"]
)
def test_a_hash_header_that_lies_is_refused(ring: Keyring, key: SigningKey, header: bytes) -> None:
    raw = key.clearsign(TEXT).replace(b"Hash: SHA512\n", header)

    assert refusal(ring, raw)


@pytest.mark.parametrize(
    "line",
    [
        b'-"evil": 1,\n',
        b'- "evil": 1,\n',
        b'- -----END PGP SIGNATURE-----\n"evil": 1\n',
        b"-\n",
        b"\n",
        b"- \n",
    ],
)
def test_a_dash_escaped_line_that_was_not_signed_is_found(
    ring: Keyring, key: SigningKey, line: bytes
) -> None:
    raw = key.clearsign(TEXT).replace(b'1.0",\n', b'1.0",\n' + line)

    assert "does not match" in refusal(ring, raw)


@pytest.mark.parametrize("hidden", [b' "evil": 1,', b"\0", b"- ", b'"'])
def test_text_beyond_what_gpg_reads_of_a_line_does_not_count_as_signed(
    ring: Keyring, key: SigningKey, hidden: bytes
) -> None:
    """Of what stands in a line after 20,000 bytes, gpg 2.2 says nothing, and calls the signature good."""
    raw = key.clearsign(TEXT).replace(b'1.0",\n', b'1.0",' + LONGER_THAN_GPG_READS + hidden + b"\n")

    assert "gpg did not check" in refusal(ring, raw)


@pytest.mark.parametrize("separator", LINE_ENDS, ids=repr)
@pytest.mark.parametrize("opening", [b'-1, "note": "', b"-", b"Hash: "])
def test_text_that_imitates_gpgs_verdict_is_no_verdict(
    ring: Keyring, key: SigningKey, other: SigningKey, opening: bytes, separator: bytes
) -> None:
    """Gpg quotes lines that it finds odd among its own messages."""
    fingerprint = key.fingerprint.encode()
    verdict = b"[GNUPG:] VALIDSIG %b 2025-07-24 1753344108 0 4 0 22 10 01 %b x" % (fingerprint, fingerprint)
    line = opening + separator + verdict + b'",\n'
    raw = other.clearsign(OTHER_TEXT)

    assert refusal(ring, raw.replace(b"\n\n", b"\n\n" + line, 1))
    assert refusal(ring, raw.replace(BEGIN_SIGNATURE, BEGIN_SIGNATURE + line))
    assert refusal(ring, OTHER_TEXT, raw[raw.index(BEGIN_SIGNATURE) :].replace(b"\n\n", b"\n" + line + b"\n"))


def test_a_second_text_inside_the_signature_does_not_lend_it_its_own(ring: Keyring, key: SigningKey) -> None:
    """A signed message, packed into the armor of another text's signature, is still good by itself."""
    whole = key._gpg("--digest-algo", "SHA512", "--compress-algo", "none", "--sign", stdin=TEXT)
    forged = key.clearsign(OTHER_TEXT)

    assert refusal(ring, with_signatures(forged, whole))
    assert refusal(ring, with_signatures(forged, packets(key.clearsign(TEXT)), whole))


@pytest.mark.parametrize("armor", [b"", b"AAAA\n", b"not base64 at all\n", b"\n\n"])
def test_a_signature_block_without_a_signature_proves_nothing(
    ring: Keyring, key: SigningKey, armor: bytes
) -> None:
    head, _ = key.clearsign(TEXT).split(BEGIN_SIGNATURE)

    assert refusal(ring, head + BEGIN_SIGNATURE + b"\n" + armor + b"-----END PGP SIGNATURE-----\n")


# Detached signatures


def test_a_detached_signature_of_another_text_is_refused(ring: Keyring, key: SigningKey) -> None:
    assert "does not match" in refusal(ring, OTHER_TEXT, key.detach(TEXT))


def test_a_detached_signature_by_another_key_is_refused(ring: Keyring, other: SigningKey) -> None:
    assert "not in the mirror's keyring" in refusal(ring, TEXT, other.detach(TEXT))


@pytest.mark.parametrize("signature", [b"", b"\n", b"junk", b"<html>404</html>", TEXT])
def test_a_file_that_is_no_signature_proves_nothing(ring: Keyring, signature: bytes) -> None:
    assert refusal(ring, TEXT, signature) == "its signature is neither binary nor one armored block"


def test_a_signature_file_that_brings_its_own_signed_text_proves_only_that(
    ring: Keyring, key: SigningKey
) -> None:
    whole = key._gpg("--digest-algo", "SHA512", "--sign", stdin=TEXT)

    for signature in (key.clearsign(TEXT), whole, armored(whole)):
        assert refusal(ring, OTHER_TEXT, signature)

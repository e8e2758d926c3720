"""The envelope of a signed document: one block, and nothing that the signature does not cover."""

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.keys import SigningKey

from proxy.simplestreams import clearsign
from proxy.simplestreams.clearsign import EnvelopeError, check_covered, check_envelope, looks_clearsigned

TEXT = b'{\n "format": "index:1.0",\n "index": {}\n}\n'
BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----\n"
SIGNATURE = b"-----BEGIN PGP SIGNATURE-----\n\niQ==\n=abcd\n-----END PGP SIGNATURE-----\n"
BLOCK = BEGIN + b"Hash: SHA512\n\n" + TEXT + SIGNATURE


@pytest.mark.parametrize(
    "raw",
    [
        BLOCK,
        BLOCK.rstrip(),
        BLOCK + b"\n \t\r\n\n",
        BLOCK.replace(b"\n", b"\r\n"),
        BEGIN + b"\n" + TEXT + SIGNATURE,
        BEGIN + b"Hash: SHA256\nHash: SHA512\n\n" + TEXT + SIGNATURE,
        BEGIN + b"Hash: SHA256, SHA512\n\n" + TEXT + SIGNATURE,
        BEGIN + b"Hash: SHA512\n \t\n" + TEXT + SIGNATURE,
        BEGIN + b"Hash: SHA512\n\n- -----BEGIN PGP SIGNATURE-----\n" + TEXT + SIGNATURE,
        BEGIN + b"\n" + (b"a" * 19_998 + b"\n") * 3 + SIGNATURE,
        BEGIN + b"Hash: SHA512\n\n" + TEXT + SIGNATURE.replace(b"\n\n", b"\nVersion: GnuPG v1\n\n"),
    ],
)
def test_one_block_and_nothing_else_is_an_envelope(raw: bytes) -> None:
    assert looks_clearsigned(raw)
    check_envelope(raw)


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        (b"", "not clear-signed"),
        (TEXT, "not clear-signed"),
        (b"<html>503</html>", "not clear-signed"),
        (SIGNATURE, "not clear-signed"),
        (b"-----BEGIN PGP MESSAGE-----\n\n", "not clear-signed"),
        (b"evil\n" + BLOCK, "unsigned text stands before"),
        (b"\n" + BLOCK, "unsigned text stands before"),
        (b"----\n" + BLOCK, "unsigned text stands before"),
        (b'{"format": "index:1.0"}' + BLOCK, "not clear-signed"),
        (b" " + BLOCK, "not clear-signed"),
        (b"\xef\xbb\xbf" + BLOCK, "not clear-signed"),
        (BLOCK + b"evil", "unsigned text stands after"),
        (BLOCK + b"\0", "unsigned text stands after"),
        (BLOCK.rstrip() + b"evil\n", "out of order"),
        (BLOCK + BLOCK, "a second block"),
        (BLOCK + SIGNATURE, "a second block"),
        (BLOCK + b"-----", "a second block"),
        (BEGIN, "other than 'Hash:'"),
        (BEGIN + b"Hash: SHA512\n\n", "truncated"),
        (BEGIN + b"Hash: SHA512\n\n" + TEXT, "truncated"),
        (BLOCK[: BLOCK.index(b"=abcd")], "truncated"),
        (BLOCK[:-3], "out of order"),
        (BEGIN + b"evil\n\n" + TEXT + SIGNATURE, "other than 'Hash:'"),
        (BEGIN + b"NotDashEscaped: You need GnuPG\n\n" + TEXT + SIGNATURE, "other than 'Hash:'"),
        (BEGIN + b"Hash: SHA512\nevil\n\n" + TEXT + SIGNATURE, "other than 'Hash:'"),
        (BEGIN + b"Hash: SHA512\x0bevil\n\n" + TEXT + SIGNATURE, "other than 'Hash:'"),
        (BEGIN.rstrip() + b" evil\n\n" + TEXT + SIGNATURE, "not clear-signed"),
        (BEGIN + b"\n-----evil\n" + TEXT + SIGNATURE, "out of order"),
        (BEGIN + b"\n" + BEGIN + SIGNATURE, "out of order"),
        (BEGIN + b"\n" + b"a" * 19_999 + b"\n" + SIGNATURE, "a line of more than 19998 bytes"),
        (BEGIN + b"\n" + TEXT + b"a" * 40_000 + b"\n" + SIGNATURE, "a line of more than 19998 bytes"),
        (BEGIN + b"\n-----END PGP SIGNATURE-----\n-----BEGIN PGP SIGNATURE-----\n", "out of order"),
    ],
)
def test_anything_else_is_refused_in_words(raw: bytes, problem: str) -> None:
    with pytest.raises(EnvelopeError, match=problem):
        check_envelope(raw)


@pytest.mark.parametrize("digest_algo", ["SHA256", "SHA512"])
def test_what_gpg_makes_is_an_envelope(key: SigningKey, digest_algo: str) -> None:
    check_envelope(key.clearsign(TEXT, digest_algo=digest_algo))
    check_envelope(key.clearsign(b"-----BEGIN PGP SIGNATURE-----\n- x\n" + TEXT, digest_algo=digest_algo))


@pytest.mark.parametrize("around", [(b"evil\n", b""), (b"", b"evil\n"), (b"", b'\n{"format": "index:1.0"}')])
def test_what_gpgv_overlooks_is_refused(key: SigningKey, keyring: Path, around: tuple[bytes, bytes]) -> None:
    """The program calls a document good that has unsigned text around its signed block."""
    before, after = around
    raw = before + key.clearsign(TEXT) + after
    command = ["gpgv", f"--keyring={keyring}", "-"]
    assert subprocess.run(command, input=raw, capture_output=True, check=False).returncode == 0
    with pytest.raises(EnvelopeError):
        check_envelope(raw)


# What gpg read, against what stands there


def cover(body: bytes) -> bytes:
    """Return a block with this body."""
    return BEGIN + b"Hash: SHA512\n\n" + body + SIGNATURE


@pytest.mark.parametrize("place", range(len(TEXT) - 1))
def test_one_other_byte_anywhere_is_not_what_gpg_read(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of the parts that are compared it is in."""
    monkeypatch.setattr(clearsign, "_BLOCK_BYTES", 7)
    check_covered(cover(TEXT), TEXT)
    with pytest.raises(EnvelopeError, match="did not check"):
        check_covered(cover(TEXT[:place] + b"?" + TEXT[place + 1 :]), TEXT)


@pytest.mark.parametrize("block_bytes", range(1, 9))
def test_an_escaped_line_is_found_wherever_it_stands(
    block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clearsign, "_BLOCK_BYTES", block_bytes)
    for before in range(10):
        text = b"x" * before + b"\n-y\n"
        check_covered(cover(b"x" * before + b"\n- -y\n"), text)
        with pytest.raises(EnvelopeError, match="did not check"):
            # As long as the text, and the same but for what an escape stands for.
            check_covered(cover(b"x" * before + b"\n- y\n"), b"x" * before + b"\n- y\n")


@given(lines=st.lists(st.text("- x\t", max_size=5)), ends=st.sampled_from(["", " ", "\t "]))
def test_blank_ends_and_escapes_are_all_that_may_differ(lines: list[str], ends: str) -> None:
    text = "".join(f"{line.rstrip()}\n" for line in lines).encode()
    escaped = "".join(f"{'- ' * line.startswith('-')}{line.rstrip()}{ends}\n" for line in lines).encode()
    check_covered(cover(escaped), text)
    with pytest.raises(EnvelopeError, match="did not check"):
        check_covered(cover(escaped + b"z\n"), text)

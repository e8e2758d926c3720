"""Digests: one textual form, and bytes checked as they pass."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.digest import (
    Digest,
    DigestMismatch,
    InvalidDigest,
    SizeMismatch,
    Verifier,
    digest_of,
    parse_digest,
)

SHA = "0123456789abcdef" * 4


def test_a_digest_is_64_hexadecimal_characters_in_lower_case() -> None:
    assert parse_digest(SHA) == SHA
    assert parse_digest(SHA.upper()) == SHA


@pytest.mark.parametrize(
    "text",
    [
        "",
        SHA[:-1],
        SHA + "0",
        SHA + "\n",
        " " + SHA,
        SHA + "  -",
        "sha256:" + SHA,
        "g" * 64,
        "0x" + SHA[2:],
        "\N{FULLWIDTH DIGIT ZERO}" * 64,
        "\N{ARABIC-INDIC DIGIT ONE}" * 64,
        "\ud800" * 64,
        None,
        7,
        int(SHA, 16),
        SHA.encode(),
        [SHA],
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_anything_else_is_refused_in_few_words(text: object) -> None:
    with pytest.raises(InvalidDigest) as caught:
        parse_digest(text)
    assert caught.value.text == text
    assert len(str(caught.value)) < 200


def test_the_digest_of_bytes_is_their_sha256() -> None:
    assert digest_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.lists(st.binary(max_size=5000), max_size=6))
def test_the_right_bytes_pass_in_any_pieces(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    verifier = Verifier(digest_of(data), len(data))
    seen = 0
    for number, piece in enumerate(pieces):
        verifier.update((piece, bytearray(piece), memoryview(piece))[number % 3])
        seen += len(piece)
        assert verifier.seen_bytes == seen
    verifier.finish()


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_wrong_byte_is_found(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    wrong = data[:at] + bytes([data[at] ^ draw.draw(st.integers(1, 255))]) + data[at + 1 :]
    verifier = Verifier(digest_of(data), len(data))
    verifier.update(wrong)
    with pytest.raises(DigestMismatch) as caught:
        verifier.finish()
    assert (caught.value.expected, caught.value.actual) == (digest_of(data), digest_of(wrong))


def test_too_few_bytes_are_found_at_the_end() -> None:
    verifier = Verifier(digest_of(b"abc"), 3)
    verifier.update(b"ab")
    with pytest.raises(SizeMismatch) as caught:
        verifier.finish()
    assert (caught.value.expected_bytes, caught.value.actual_bytes) == (3, 2)


def test_too_many_bytes_are_found_at_once() -> None:
    """Not only at the end, so that no origin can fill a disk."""
    verifier = Verifier(digest_of(b"abc"), 3)
    verifier.update(b"abc")
    with pytest.raises(SizeMismatch) as caught:
        verifier.update(b"d")
    assert (caught.value.expected_bytes, caught.value.actual_bytes) == (3, 4)


def test_a_right_size_with_another_digest_is_wrong() -> None:
    verifier = Verifier(Digest(hashlib.sha256(b"abd").hexdigest()), 3)
    verifier.update(b"abc")
    with pytest.raises(DigestMismatch):
        verifier.finish()


def test_nothing_is_right_for_an_empty_blob() -> None:
    Verifier(digest_of(b""), 0).finish()

"""Envelopes: whatever is signed fits in, whatever is added or missing is seen."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proxy.simplestreams.clearsign import EnvelopeError, check_envelope

BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
SIGNATURE = b"\n-----BEGIN PGP SIGNATURE-----\n\niQ==\n=abcd\n-----END PGP SIGNATURE-----\n"
TEXTS = st.binary(max_size=60) | st.lists(
    st.sampled_from([BEGIN, SIGNATURE, b"-----", b"- ", b"\n", b"\r\n", b"{}", b"Hash: x"]), max_size=6
).map(b"".join)


def signed(text: bytes) -> bytes:
    """Wrap a text as RFC 4880 section 7.1 says: lines that begin with a dash are escaped."""
    escaped = b"\n".join(b"- " + line if line.startswith(b"-") else line for line in text.split(b"\n"))
    return BEGIN + escaped + SIGNATURE


@given(TEXTS)
def test_any_text_can_be_signed(text: bytes) -> None:
    """Also one that holds markers itself."""
    check_envelope(signed(text))


@given(TEXTS, TEXTS, TEXTS)
def test_whatever_stands_outside_is_seen(text: bytes, before: bytes, after: bytes) -> None:
    """Before the block nothing may stand, after it only blanks."""
    assume(before or after.strip())
    # Unless what stands before opens a block itself, of which the rest is the text.
    assume(before.endswith(b"\n") or not before.startswith(BEGIN[:10]))
    with pytest.raises(EnvelopeError):
        check_envelope(before + signed(text) + after)


@given(TEXTS, st.data())
def test_whatever_is_cut_off_is_seen(text: bytes, data: st.DataObject) -> None:
    """No beginning of a block is a block."""
    whole = signed(text).rstrip()
    with pytest.raises(EnvelopeError):
        check_envelope(whole[: data.draw(st.integers(0, len(whole) - 1))])


@given(st.binary())
def test_any_bytes_are_an_envelope_or_refused(raw: bytes) -> None:
    """Nothing else can come of them."""
    with pytest.raises(EnvelopeError):
        check_envelope(raw)

"""Whatever an origin sends as a head: it is rewritten into a good one, or refused in words."""

import json
import re
from email.utils import formatdate
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from proxy.sources.http import fields
from proxy.sources.http.heads import LONGEST_HEAD_BYTES, HeadError, HeadReader

NAMES = st.sampled_from(
    [
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Content-Range",
        b"Content-Encoding",
        b"Content-Type",
        b"ETag",
        b"Location",
        b"Set-Cookie",
        b" ",
        b"\xff",
    ]
)
VALUES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"5", b"5, 5", b"chunked", b"identity", b"gzip", b"close", b'"tag"', b"9" * 5000]),
)
ENDS = st.sampled_from([b"\r\n", b"\n", b"\r\n ", b"\r"])
LINES = st.builds(lambda name, value, end: name + b": " + value + end, NAMES, VALUES, ENDS)
FIRST = st.one_of(
    st.sampled_from([b"HTTP/1.1 200 OK\r\n", b"HTTP/1.0 404\n", b"HTTP/1.1 103 x\r\n\r\nHTTP/1.1 206 x\r\n"]),
    st.binary(max_size=30),
)
STREAMS = st.builds(
    lambda first, lines, rest: first + b"".join(lines) + b"\r\n" + rest,
    FIRST,
    st.lists(LINES, max_size=8),
    st.binary(max_size=20),
)
FIELD = re.compile(rb"[A-Z][A-Za-z-]+: [\t\x20-\x7e]*")
TEXTS = st.one_of(
    st.text(max_size=300),
    st.text(st.sampled_from('bytes 0123456789-/*"W,;=gzip deflate\ud800٣'), max_size=60),
)


def fed(chunks: list[bytes]) -> bytes | None:
    """Return what is left of a stream that comes in pieces; None if it is refused or not whole."""
    reader = HeadReader()
    for number, chunk in enumerate(chunks):
        try:
            found = reader.feed(chunk)
        except HeadError:
            return None
        if found is not None:
            return found + b"".join(chunks[number + 1 :])
    return None


@given(STREAMS, st.lists(st.integers(0, 400), max_size=6))
def test_a_head_comes_out_clean_however_it_comes_in(stream: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    whole = fed([stream])
    assert fed([stream[a:b] for a, b in pairwise(places)]) == whole
    if whole is None:
        return
    head = whole.partition(b"\r\n\r\n")[0]
    first, *lines = head.split(b"\r\n")
    assert re.fullmatch(rb"HTTP/1\.[01] [02-9]\d\d [\t\x20-\x7e]*", first)
    assert all(FIELD.fullmatch(line) for line in lines)
    names = [line.partition(b":")[0] for line in lines]
    assert len(set(names)) == len(names)
    assert not {b"Content-Length", b"Transfer-Encoding"} <= set(names)
    assert len(head) < LONGEST_HEAD_BYTES
    assert fed([head + b"\r\n\r\n"]) == head + b"\r\n\r\n"


@given(TEXTS)
def test_no_value_of_a_field_raises_and_what_is_kept_can_be_sent_and_stored(text: str) -> None:
    size = fields.length(text)
    assert size is None or 0 <= size < 10**18
    part = fields.content_range(text)
    assert part is None or part[1] is None or part[0] < part[1]
    fields.is_page(text)
    assert all(coding.isascii() and coding.isprintable() for coding in fields.codings(text))
    for kept in (fields.etag(text), fields.date(text), fields.location(text)):
        if kept is not None:
            assert kept == text
            assert kept.isprintable()
            assert json.loads(json.dumps(kept.encode("ascii").decode())) == kept


@given(st.integers(0, 10**17), st.integers(0, 10**17), st.integers(1, 10**17))
def test_a_good_part_is_read(start: int, more: int, beyond: int) -> None:
    last, total = start + more, start + more + beyond
    assert fields.content_range(f"bytes {start}-{last}/{total}") == (start, total)
    assert fields.content_range(f"bytes {start}-{last}/*") == (start, None)
    assert fields.content_range(f"bytes {start}-{last}/{last}") is None


@given(st.integers(0, 2**33))
def test_real_validators_are_kept(number: int) -> None:
    for tag in (f'"{number:x}"', f'W/"{number:x}-5f"', f"{number}", '""'):
        assert fields.etag(tag) == tag
    assert fields.date(formatdate(number, usegmt=True)) is not None

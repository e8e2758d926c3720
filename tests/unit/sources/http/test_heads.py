"""The head of an origin's reply: forgiven or refused, and what is left of it."""

import pytest
from support.odd_heads import FORGIVABLE, HOPELESS, filled

from proxy.sources.http.heads import LONGEST_HEAD_BYTES, HeadError, HeadReader, rewritten

SIZE = 12_345


def clean(*fields: bytes, first: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return how a head with these fields is written anew."""
    return rewritten(b"\r\n".join([first, *fields, b"", b""]))[1]


@pytest.mark.parametrize("template", FORGIVABLE.values(), ids=FORGIVABLE)
def test_what_is_forgiven_says_how_long_the_body_is(template: bytes) -> None:
    written = HeadReader().feed(filled(template, SIZE) + b"the body")

    assert written is not None
    head, _, body = written.partition(b"\r\n\r\n")
    assert body == b"the body"
    assert head.count(b"Content-Length: 12345") == 1
    assert head.isascii()
    assert len(head) < 10_000


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("two lengths", "several lengths: b'7, 12345'"),
        ("a length of 4,400 digits", "no number of bytes: b'9999"),
        ("a negative length", "no number of bytes: b'-1'"),
        ("a length in words", "no number of bytes: b'many'"),
        ("a head without end", f"longer than {LONGEST_HEAD_BYTES} bytes"),
        ("another protocol", "another protocol"),
        ("no HTTP", "does not begin as HTTP does, but with b'SSH-2.0"),
        ("a TLS alert", "does not begin as HTTP does"),
        ("a status of words", "does not begin as HTTP does"),
        ("a status of 4 digits", "does not begin as HTTP does"),
    ],
)
def test_what_leaves_doubt_is_refused_in_words(name: str, problem: str) -> None:
    with pytest.raises(HeadError, match=problem) as caught:
        HeadReader().feed(filled(HOPELESS[name], SIZE))
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_a_head_may_come_byte_by_byte() -> None:
    reader = HeadReader()
    sent = b"\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    for byte in sent[:-1]:
        assert reader.feed(bytes([byte])) is None
    assert reader.feed(sent[-1:]) == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"


def test_heads_that_never_become_final_are_refused() -> None:
    with pytest.raises(HeadError, match="longer than"):
        HeadReader().feed(b"HTTP/1.1 100 Continue\r\n\r\n" * 3000)


def test_what_the_first_bytes_rule_out_is_not_waited_for() -> None:
    with pytest.raises(HeadError, match="does not begin as HTTP does"):
        HeadReader().feed(b"<html>")


def test_the_last_coding_says_where_the_body_ends() -> None:
    """RFC 9112 section 6.3: chunks rule out a length; other codings end with the connection."""
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    assert clean(b"Transfer-Encoding: chunked") == chunked + b"\r\n"
    assert clean(b"Transfer-Encoding: Chunked", b"Content-Length: many") == (
        chunked + b"Connection: close\r\n\r\n"
    )
    assert clean(b"transfer-encoding: identity, chunked;a=b") == chunked + b"\r\n"
    assert clean(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked") == (
        chunked + b"Content-Encoding: gzip\r\n\r\n"
    )
    assert clean(b"Transfer-Encoding: gzip", b"Content-Length: 5") == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n"
    )


@pytest.mark.parametrize("status", [204, 304])
def test_what_has_no_body_has_no_length(status: int) -> None:
    first = b"HTTP/1.1 %d Whatever" % status
    assert clean(b"Content-Length: 5", b"ETag: x", first=first) == first + b"\r\nETag: x\r\n\r\n"


def test_only_what_is_read_is_kept_and_once() -> None:
    assert clean(
        b"Set-Cookie: a=b",
        b"ETag: \xff",
        b'ETag: "good"',
        b'ETag: "later"',
        b"Location: http://a.example/\xc3\xbc",
        b"Content-Type: " + b"x" * 5000,
    ) == (b'HTTP/1.1 200 OK\r\nETag: "good"\r\nLocation: http://a.example/%C3%BC\r\n\r\n')

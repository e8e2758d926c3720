"""The stray end-of-chunks marker of MAAS 3.5 and 3.6: dropped where it is stray, nowhere else."""

import pytest

from proxy.web.wire.stray_chunk import StrayChunkFilter

MARKER = b"0\r\n\r\n"
GET = b"GET /images/a HTTP/1.1\r\nHost: cache\r\n\r\n"
POST = b"POST /images/a HTTP/1.1\r\nHost: cache\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST /images/a HTTP/1.1\r\nHost: cache\r\ntransfer-encoding: chunked\r\n\r\n"


def fed(*pieces: bytes) -> list[bytes]:
    """Return what the parser sees of each piece that arrives on a new connection."""
    stray_chunks = StrayChunkFilter()
    return [stray_chunks.feed(piece) for piece in pieces]


@pytest.mark.parametrize(
    ("arriving", "seen"),
    [
        # in the same read, later, in pieces
        ([GET + MARKER], [GET]),
        ([GET, MARKER], [GET, b""]),
        ([GET + b"0", b"\r\n\r\n"], [GET, b""]),
        ([GET + b"0\r\n", b"\r\n"], [GET, b""]),
        ([GET, b"0", b"\r", b"\n", b"\r", b"\n"], [GET, b"", b"", b"", b"", b""]),
        ([GET[:-2], GET[-2:] + MARKER], [GET[:-2], GET[-2:]]),
        # on a connection that is kept
        ([GET + MARKER + GET + MARKER], [GET + GET]),
        ([GET, MARKER, GET, MARKER, GET], [GET, b"", GET, b"", GET]),
        ([GET, MARKER + GET], [GET, GET]),
        ([GET + GET + MARKER + GET], [GET + GET + GET]),
        # without any marker
        ([GET], [GET]),
        ([GET, GET], [GET, GET]),
        ([b"", GET, b""], [b"", GET, b""]),
        ([GET + b"\r\n" + GET], [GET + b"\r\n" + GET]),
    ],
)
def test_a_marker_after_a_request_without_body_is_dropped(arriving: list[bytes], seen: list[bytes]) -> None:
    """And every other byte is passed on as soon as it cannot be part of one."""
    assert fed(*arriving) == seen


@pytest.mark.parametrize(
    ("arriving", "seen"),
    [
        # no request came before it
        ([MARKER + GET], [MARKER + GET]),
        ([b"0", b"\r\n\r\n"], [b"0", b"\r\n\r\n"]),
        # one is stray, a second one is an error for the parser to see
        ([GET + MARKER + MARKER], [GET + MARKER]),
        # what begins like one, and goes on otherwise
        ([GET, b"0", b"1 /"], [GET, b"", b"01 /"]),
        ([GET, b"0\r\n\r", b"x"], [GET, b"", b"0\r\n\rx"]),
        ([GET + b"00\r\n\r\n"], [GET + b"00\r\n\r\n"]),
        ([GET + b"5\r\nhello\r\n0\r\n\r\n"], [GET + b"5\r\nhello\r\n0\r\n\r\n"]),
    ],
)
def test_what_is_no_stray_marker_stays(arriving: list[bytes], seen: list[bytes]) -> None:
    assert fed(*arriving) == seen


@pytest.mark.parametrize(
    "request_",
    [
        POST + MARKER,
        CHUNKED + b"5\r\nhello\r\n" + MARKER,
        CHUNKED + MARKER,
        POST.lower() + MARKER,
        GET[:-2] + b"Upgrade: websocket\r\n\r\n" + MARKER,
        GET[:-2] + b"CONTENT-LENGTH: 0\r\n\r\n" + MARKER,
    ],
)
def test_bodies_are_not_touched(request_: bytes) -> None:
    """Nor anything after a request with a body: where it ends is the parser's business."""
    stream = request_ + GET + MARKER
    assert fed(stream) == [stream]
    assert b"".join(fed(*(bytes([byte]) for byte in stream))) == stream
    assert b"".join(fed(GET + MARKER, stream)) == GET + stream


def test_an_endless_head_is_passed_on_and_not_kept() -> None:
    """The parser has its own limit; this must not become the place where memory grows."""
    stray_chunks = StrayChunkFilter()
    piece = b"x" * 32768
    for _ in range(4):
        assert stray_chunks.feed(piece) == piece
    kept = len(stray_chunks._head)
    for _ in range(100):
        assert stray_chunks.feed(piece) == piece
    assert len(stray_chunks._head) == kept < 256 * 1024
    assert stray_chunks.feed(b"\r\n\r\n" + MARKER) == b"\r\n\r\n" + MARKER

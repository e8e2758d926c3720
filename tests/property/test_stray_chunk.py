"""However a connection's bytes are cut into reads, the parser sees the requests and no stray marker."""

from collections.abc import Iterator
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.web.wire.stray_chunk import StrayChunkFilter

MARKER = b"0\r\n\r\n"
VALUES = st.text(st.sampled_from("0 \tax:/-\r"), max_size=8).map(lambda text: text.replace("\r", "").strip())
HEADERS = st.lists(
    st.tuples(st.sampled_from(["Host", "Range", "Accept", "X-Content-Length", "0"]), VALUES), max_size=3
)
BODY_HEADERS = st.sampled_from(
    [("Content-Length", "5"), ("TRANSFER-ENCODING", "chunked"), ("upgrade", "tls")]
)
BODIES = st.lists(st.sampled_from([MARKER, b"0", b"\r\n", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"hello"]))


def head(target: str, headers: list[tuple[str, str]]) -> bytes:
    """Write the head of a request."""
    lines = [f"GET /{target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


REQUESTS = st.lists(st.tuples(st.builds(head, st.sampled_from(["", "0", "0%0D"]), HEADERS), st.booleans()))
WITH_BODY = st.builds(
    lambda headers, header, body: head("body", [*headers, header]) + b"".join(body),
    HEADERS,
    BODY_HEADERS,
    BODIES,
)


def pieces(data: st.DataObject, stream: bytes) -> Iterator[bytes]:
    """Cut a stream anywhere."""
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=12))
    for start, stop in pairwise([0, *sorted(cuts), len(stream)]):
        yield stream[start:stop]


@given(REQUESTS, st.data())
@example([(b"GET / HTTP/1.1\r\n\r\n", True)] * 3, None)
def test_exactly_the_requests_come_through(
    requests: list[tuple[bytes, bool]], data: st.DataObject | None
) -> None:
    """Markers after requests without body are gone, all else is there, and in time."""
    stream = b"".join(request + (MARKER if is_marked else b"") for request, is_marked in requests)
    expected = b"".join(request for request, _ in requests)
    stray_chunks = StrayChunkFilter()
    cut = (bytes([byte]) for byte in stream) if data is None else pieces(data, stream)
    seen = b""
    fed = 0
    for piece in cut:
        seen += stray_chunks.feed(piece)
        fed += len(piece)
        assert expected.startswith(seen)
        # Only what may yet become a marker is ever held back.
        due = fed - len(MARKER) * sum(1 for _, is_marked in requests if is_marked)
        assert len(seen) >= due - len(MARKER)
    assert seen == expected


@given(REQUESTS, WITH_BODY, BODIES, st.data())
def test_nothing_is_touched_from_a_body_on(
    requests: list[tuple[bytes, bool]], body: bytes, rest: list[bytes], data: st.DataObject
) -> None:
    """Whatever a body looks like, and whatever comes after it."""
    stray_chunks = StrayChunkFilter()
    clean = b"".join(request for request, _ in requests)
    stream = b"".join(request + (MARKER if is_marked else b"") for request, is_marked in requests)
    untouched = body + b"".join(rest)
    assert b"".join(map(stray_chunks.feed, pieces(data, stream + untouched))) == clean + untouched


@given(
    st.binary(max_size=80) | st.lists(st.sampled_from([b"0", b"\r", b"\n", b"\r\n\r\n", b"x"])).map(b"".join),
    st.data(),
)
def test_any_bytes_lose_nothing_but_markers(stream: bytes, data: st.DataObject) -> None:
    """What comes out is what went in, less some markers, and less what may yet become one."""
    stray_chunks = StrayChunkFilter()
    whole = StrayChunkFilter().feed(stream)
    seen = b"".join(map(stray_chunks.feed, pieces(data, stream)))
    assert seen == whole
    missing = len(stream) - len(seen)
    held = missing % len(MARKER)
    assert missing // len(MARKER) <= stream.count(MARKER)
    assert held == 0 or stream.endswith(MARKER[:held])

"""Any Range header is answered as slicing the body would."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.digest import digest_of
from proxy.simplestreams.model import Item
from proxy.web.negotiate import negotiate

BODIES = st.binary(max_size=40)
POSITIONS = st.none() | st.integers(0, 50)
NEARLY = st.text(st.sampled_from("bytes=0123456789-, \tB\N{ARABIC-INDIC DIGIT THREE}"), max_size=14)


def sliced(body: bytes, first: int | None, last: int | None) -> bytes | None:
    """Cut a body as RFC 9110 section 14.1.2 says; None when the range is not a valid one."""
    if first is None:
        return None if last is None else body[len(body) - min(last, len(body)) :]
    if last is None:
        return body[first:]
    return None if last < first else body[first : last + 1]


@given(BODIES, POSITIONS, POSITIONS, st.sampled_from(["bytes=", "Bytes= "]))
def test_every_range_is_answered_as_a_slice(
    body: bytes, first: int | None, last: int | None, unit: str
) -> None:
    """206 with exactly those bytes, 416 when there are none, 200 when it is no range."""
    written = "-".join("" if position is None else str(position) for position in (first, last))
    answer = negotiate(Item("a", digest_of(body), len(body)), {"Range": unit + written})
    wanted = sliced(body, first, last)
    if wanted is None:
        assert (answer.status, body[answer.start : answer.stop]) == (200, body)
        assert "Content-Range" not in answer.headers
        assert answer.headers["Content-Length"] == str(len(body))
    elif wanted:
        assert (answer.status, body[answer.start : answer.stop]) == (206, wanted)
        stated = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.headers["Content-Range"])
        assert stated is not None
        begin, end, total = map(int, stated.groups())
        assert (body[begin : end + 1], total) == (wanted, len(body))
        assert answer.headers["Content-Length"] == str(len(wanted))
    else:
        assert (answer.status, answer.start, answer.stop) == (416, 0, 0)
        assert answer.headers["Content-Range"] == f"bytes */{len(body)}"
        assert answer.headers["Content-Length"] == "0"


@given(BODIES, NEARLY | st.text())
@example(b"0123456789", "bytes=\N{ARABIC-INDIC DIGIT THREE}-")
def test_any_other_header_sends_all(body: bytes, header: str) -> None:
    """What the grammar does not know is not there."""
    answer = negotiate(Item("a", digest_of(body), len(body)), {"Range": header})
    if re.fullmatch(r"bytes=[ \t]*([0-9]+-[0-9]*|-[0-9]+)[ \t]*", header, re.IGNORECASE | re.ASCII):
        assert answer.status in {200, 206, 416}
    else:
        assert (answer.status, body[answer.start : answer.stop]) == (200, body)


@given(BODIES, st.integers(0, 50))
def test_a_resumed_download_is_the_whole(body: bytes, have: int) -> None:
    """What a client has, and `bytes=N-` after it, make the body again, once."""
    answer = negotiate(Item("a", digest_of(body), len(body)), {"Range": f"bytes={have}-"})
    if have < len(body):
        assert body[:have] + body[answer.start : answer.stop] == body
    else:
        assert answer.status == 416

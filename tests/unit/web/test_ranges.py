"""Range headers: what is one range, what is none, what lies outside."""

import pytest

from proxy.web.ranges import ByteRange, Unsatisfiable, parse_range

MANY = "9" * 20


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-9", (0, 10)),
        ("bytes=0-0", (0, 1)),
        ("bytes=9-9", (9, 10)),
        ("bytes=3-", (3, 10)),
        ("bytes=0-", (0, 10)),
        ("bytes=-1", (9, 10)),
        ("bytes=-10", (0, 10)),
        # beyond the end means up to the end
        ("bytes=3-99", (3, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=0-9999999999999999999", (0, 10)),
        # blanks and case
        ("Bytes=0-1", (0, 2)),
        ("BYTES=0-1", (0, 2)),
        ("bytes= 0-1", (0, 2)),
        ("bytes=\t0-1 ", (0, 2)),
        ("bytes=00-01", (0, 2)),
    ],
)
def test_one_range_is_a_part_of_the_body(header: str, expected: tuple[int, int]) -> None:
    assert parse_range(header, 10) == ByteRange(*expected)


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=1",
        "bytes=1-2-3",
        "bytes=5-4",
        "bytes=--1",
        "bytes=1.0-2",
        "bytes=+1-2",
        "bytes=0x1-2",
        "bytes 0-1",
        "bytes 0-1/10",
        "byte=0-1",
        "items=0-1",
        # several ranges
        "bytes=0-1,3-4",
        "bytes=0-1, -1",
        "bytes=0-1,",
        # digits and letters that only look like those of the grammar
        "bytes=\N{ARABIC-INDIC DIGIT THREE}-",
        "bytes=\N{FULLWIDTH DIGIT ZERO}-1",
        "byte\N{LATIN SMALL LETTER LONG S}=0-1",
        # longer than any file
        f"bytes={MANY}-",
        f"bytes=0-{MANY}",
        f"bytes=-{MANY}",
        f"bytes={'9' * 5000}-",
    ],
    ids=lambda header: ascii(header)[:40],
)
def test_any_other_header_means_the_whole_body(header: str) -> None:
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size_bytes"),
    [
        ("bytes=10-", 10),
        ("bytes=10-20", 10),
        ("bytes=9999999999999999999-", 10),
        ("bytes=-0", 10),
        ("bytes=0-", 0),
        ("bytes=0-0", 0),
        ("bytes=-5", 0),
    ],
)
def test_a_range_without_a_single_byte_is_unsatisfiable(header: str, size_bytes: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, size_bytes)

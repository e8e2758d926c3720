"""Documents that come encoded though nobody asked for it."""

import gzip
import zlib

import pytest

from proxy.sources.http.unpacking import CannotUnpack, TooLarge, unpacked

TEXT = b"signed text " * 1000
PACKED = gzip.compress(TEXT, mtime=0)


def raw_deflate(data: bytes) -> bytes:
    """Deflate without the header that RFC 9110 asks for, as some servers do."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("data", "codings"),
    [
        (PACKED, ["gzip"]),
        (zlib.compress(TEXT), ["deflate"]),
        (raw_deflate(TEXT), ["deflate"]),
        (gzip.compress(zlib.compress(TEXT), mtime=0), ["deflate", "gzip"]),
        (PACKED, ["aws-chunked", "gzip"]),
        (TEXT, ["aws-chunked"]),
        (TEXT, []),
    ],
    ids=lambda value: str(len(value)),
)
def test_what_is_known_is_undone_and_the_rest_passed_over(data: bytes, codings: list[str]) -> None:
    assert unpacked(data, codings, len(TEXT)) == TEXT


@pytest.mark.parametrize(
    ("data", "coding", "problem"),
    [
        (TEXT, "gzip", "claims gzip and sent none"),
        (TEXT, "deflate", "claims deflate and sent none"),
        (PACKED[:-9], "gzip", "cut off"),
    ],
    ids=lambda value: str(value)[:9],
)
def test_what_is_not_so_encoded_is_told(data: bytes, coding: str, problem: str) -> None:
    with pytest.raises(CannotUnpack, match=problem):
        unpacked(data, [coding], len(TEXT))


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(TooLarge):
        unpacked(gzip.compress(bytes(10_000_000)), ["gzip"], 1_000_000)

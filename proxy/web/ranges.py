"""Range requests (RFC 9110 section 14): a pure reading of the header.

One range is served as 206. Several ranges in one request are answered with the
whole body, which section 14.2 allows; no simplestreams client sends them.
"""

import re
from typing import NamedTuple

_ONE_RANGE = re.compile(r"bytes=[ \t]*(\d*)-(\d*)[ \t]*", re.ASCII | re.IGNORECASE)
_LONGEST_NUMBER = 19


class ByteRange(NamedTuple):
    """The bytes [start, stop) of a body."""

    start: int
    stop: int


class Unsatisfiable(Exception):
    """A valid range that lies outside the body: 416."""


def parse_range(header: str, size_bytes: int) -> ByteRange | None:
    """Return the range a header asks for, None when the whole body is the answer.

    None is for headers that are malformed, in other units, or name several
    ranges. Raises Unsatisfiable.
    """
    match = _ONE_RANGE.fullmatch(header)
    if match is None:
        return None
    first, last = match.groups()
    if (not first and not last) or max(len(first), len(last)) > _LONGEST_NUMBER:
        return None
    if not first:
        suffix = min(int(last), size_bytes)
        if suffix == 0:
            raise Unsatisfiable
        return ByteRange(size_bytes - suffix, size_bytes)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size_bytes:
        raise Unsatisfiable
    stop = min(int(last) + 1, size_bytes) if last else size_bytes
    return ByteRange(start, stop)

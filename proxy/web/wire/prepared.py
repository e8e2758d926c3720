"""Replies as they go onto the wire, without being made anew: whole ones, and parts of a large file."""

import os
import re
from typing import NamedTuple, Protocol

from proxy.system.page_cache import is_cached, read_cached

_CLOSED_RANGE = re.compile(rb"\r\nRange: bytes=(\d{1,18})-(\d{1,18})\r\n")
_ANY_RANGE = b"\r\nrange:"
_ANY_NUMBERS = b"\0"
"""In their place; no head that is answered has it."""
_LARGEST_PART_BYTES = 256 * 1024
_OPEN_FILE_BYTES = 256 * 1024
_LEAST_FROM_FILE_BYTES = 16 * 1024
"""From here on it costs less to have the kernel send from a file than to read it."""
_SAMPLED_EVERY_BYTES = 64 * 1024
"""Pages come, by read-ahead, and go many at a time: a part is taken to be in memory if these bytes are."""


class WireBytes(NamedTuple):
    """A reply: head and body, or its head and which part of a file is its body."""

    content: bytes
    """Without the body if that is in a file."""
    body_bytes: int
    fd: int = -1
    """Of the file; -1 without one."""
    offset: int = 0
    """Where the body begins in the file."""


class PreparedReply(Protocol):
    """Makes the bytes of a reply."""

    @property
    def held_bytes(self) -> int:
        """How much it weighs: memory, and what else is scarce."""

    def answer(self, head: bytes) -> WireBytes | None:
        """Return the reply to a request head.

        None when this is not the one for it after all. A file is to be read at once: it
        may be closed later.
        """

    def close(self) -> None:
        """Let go of what it holds open."""


class WholeReply:
    """One reply, the same every time.

    It is sent from memory: the kernel would need as long to look up the pages of a file one
    by one as it needs to copy them.
    """

    __slots__ = ("_wire",)

    def __init__(self, head: bytes, body: bytes) -> None:
        self._wire = WireBytes(head + body, len(body))

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return len(self._wire.content)

    def answer(self, head: bytes) -> WireBytes:  # noqa: ARG002
        """Return the reply."""
        return self._wire

    def close(self) -> None:
        """Nothing is held open."""


class RangeReplies:
    """Parts of one file, for heads that differ only in the range they ask for (RFC 9110 section 14.2)."""

    __slots__ = ("_fd", "_size_bytes", "_template")

    def __init__(self, status_line: str, lines: list[tuple[str, str]], fd: int) -> None:
        """Take the status line and headers of one such reply, and a descriptor of the file to keep."""
        self._fd = fd
        self._size_bytes = size_bytes = os.fstat(fd).st_size
        varying = {"Content-Range": f"bytes %(first)d-%(last)d/{size_bytes}", "Content-Length": "%(length)d"}
        fixed = [status_line.replace("%", "%%")]
        fixed += [f"{name}: {varying.get(name) or value.replace('%', '%%')}" for name, value in lines]
        self._template = "\r\n".join([*fixed, "", ""]).encode()

    @property
    def held_bytes(self) -> int:
        """How much it weighs: little memory, but an open file."""
        return len(self._template) + _OPEN_FILE_BYTES

    def answer(self, head: bytes) -> WireBytes | None:
        """Return the part that a head asks for; None for a large one, or when the disk must be waited for."""
        asked = _CLOSED_RANGE.search(head)
        if asked is None:
            return None
        first, last = int(asked[1]), int(asked[2])
        length = last - first + 1
        if not 0 < length <= _LARGEST_PART_BYTES or last >= self._size_bytes:
            return None
        own_head = self._template % {b"first": first, b"last": last, b"length": length}
        if length >= _LEAST_FROM_FILE_BYTES:
            is_there = is_cached(self._fd, first, last + 1, _SAMPLED_EVERY_BYTES)
            return WireBytes(own_head, length, self._fd, first) if is_there else None
        part = bytearray(length)
        try:
            read_bytes = read_cached(self._fd, part, first)
        except OSError:
            return None
        return WireBytes(own_head + part, length) if read_bytes == length else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def shared_head(head: bytes) -> bytes:
    """Return a head without the closed range that it asks for; as it is if it asks for none, or several."""
    asked = _CLOSED_RANGE.search(head)
    if asked is None or head.lower().count(_ANY_RANGE) != 1:
        return head
    return head[: asked.start(1)] + _ANY_NUMBERS + head[asked.end(2) :]

"""Replies as they go onto the wire, without being made anew: whole ones, and parts of a large file."""

import contextlib
import mmap
import os
import re
from typing import NamedTuple, Protocol

from proxy.system.page_cache import read_cached

_CLOSED_RANGE = re.compile(rb"\r\nRange: bytes=(\d{1,18})-(\d{1,18})\r\n")
_ANY_RANGE = b"\r\nrange:"
_ANY_NUMBERS = b"\0"
"""In their place; no head that is answered has it."""
_LARGEST_PART_BYTES = 256 * 1024
_OPEN_FILE_BYTES = 256 * 1024
_LARGEST_HEAD_BYTES = 16 * 1024
_LEAST_IN_FILE_BYTES = 128 * 1024
"""From here on it costs less to send from a file than to copy; one takes two descriptors."""
_wires = memoryview(bytearray(_LARGEST_HEAD_BYTES + _LARGEST_PART_BYTES))
"""Where parts are put together: to make room anew for each would cost as much as to read it."""


class WireBytes(NamedTuple):
    """A reply: head and body."""

    content: bytes | memoryview
    body_bytes: int
    """How much of it is body."""
    fd: int = -1
    """Of a file with the same content, which the kernel can send without copying; -1 without one."""


class PreparedReply(Protocol):
    """Makes the bytes of a reply."""

    @property
    def held_bytes(self) -> int:
        """How much it weighs: memory, and what else is scarce."""

    def answer(self, head: bytes) -> WireBytes | None:
        """Return the reply to a request head.

        None when this is not the one for it after all. What can be written to is
        overwritten by the next answer: it is to be sent, or copied, at once.
        """

    def close(self) -> None:
        """Let go of what it holds open."""


class WholeReply:
    """One reply, the same every time."""

    __slots__ = ("_wire",)

    def __init__(self, head: bytes, body: bytes) -> None:
        self._wire = WireBytes(head + body, len(body))
        if len(body) >= _LEAST_IN_FILE_BYTES:
            with contextlib.suppress(OSError):
                self._wire = _in_file(self._wire)

    @property
    def held_bytes(self) -> int:
        """How much memory it takes."""
        return len(self._wire.content)

    def answer(self, head: bytes) -> WireBytes:  # noqa: ARG002
        """Return the reply."""
        return self._wire

    def close(self) -> None:
        """Close the file, if there is one; what is still to be sent stays in memory."""
        if self._wire.fd >= 0:
            os.close(self._wire.fd)
            self._wire = self._wire._replace(fd=-1)


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
        start, stop = len(own_head), len(own_head) + length
        wire = _wires[:stop]
        wire[:start] = own_head
        try:
            read_bytes = read_cached(self._fd, wire[start:], first)
        except OSError:
            return None
        return WireBytes(wire, length) if read_bytes == length else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


def _in_file(wire: WireBytes) -> WireBytes:
    """Return the same reply in a file in memory. Raises OSError."""
    size_bytes = len(wire.content)
    fd = os.memfd_create("reply")
    try:
        os.posix_fallocate(fd, 0, size_bytes)  # Lacking it later would kill the process.
        memory = mmap.mmap(fd, size_bytes)
    except OSError:
        os.close(fd)
        raise
    memory[:] = wire.content
    return WireBytes(memoryview(memory).toreadonly(), wire.body_bytes, fd)


def shared_head(head: bytes) -> bytes:
    """Return a head without the closed range that it asks for; as it is if it asks for none, or several."""
    asked = _CLOSED_RANGE.search(head)
    if asked is None or head.lower().count(_ANY_RANGE) != 1:
        return head
    return head[: asked.start(1)] + _ANY_NUMBERS + head[asked.end(2) :]

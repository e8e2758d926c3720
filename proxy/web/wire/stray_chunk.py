r"""Dropping the stray end-of-chunks marker that MAAS 3.5 and 3.6 send.

Their aiohttp client sends `0\r\n\r\n` after the head of each image GET, without
a Transfer-Encoding header. A strict parser takes it for a malformed next
request and answers 400; the marker may come in the same read, later, or in
pieces. It is dropped where it can only be stray: right after the head of a
request that has no body. Pure.
"""

_MARKER = b"0\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_BODY_HEADERS = (b"\r\ncontent-length:", b"\r\ntransfer-encoding:", b"\r\nupgrade:")
_LONGEST_HEAD = 65536


class StrayChunkFilter:
    """Follows the request heads of one connection and drops the markers between them."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._held = b""
        self._may_be_marker = False
        self._is_off = False
        self.passed_heads = 0
        """How many whole request heads the parser has got to see."""

    @property
    def is_between_heads(self) -> bool:
        """Whether the next byte begins a request head, or a marker: nothing is half read."""
        return not (self._head or self._held or self._is_off)

    def note_head(self) -> None:
        """Take note of a whole request head that somebody else has read."""
        self._may_be_marker = True

    def feed(self, data: bytes) -> bytes:
        """Return what of `data` the parser should see.

        A connection whose requests have bodies, or whose heads are overlong, is
        passed through untouched from there on.
        """
        if self._is_off:
            return data
        passed = bytearray()
        data = self._held + data
        self._held = b""
        while data and not self._is_off:
            if self._may_be_marker:
                if data.startswith(_MARKER):
                    data = data[len(_MARKER) :]
                    self._may_be_marker = False
                    continue
                if _MARKER.startswith(data):
                    self._held = data
                    return bytes(passed)
                self._may_be_marker = False
            data = self._pass_head(data, passed)
        return bytes(passed + data)

    def _pass_head(self, data: bytes, passed: bytearray) -> bytes:
        """Pass bytes on up to the end of a request head; return the rest."""
        searched_from = max(0, len(self._head) - len(_HEAD_END) + 1)
        before = len(self._head)
        self._head += data
        end = self._head.find(_HEAD_END, searched_from)
        if end < 0:
            passed += data
            self._is_off = len(self._head) > _LONGEST_HEAD
            return b""
        taken = end + len(_HEAD_END) - before
        passed += data[:taken]
        head = bytes(self._head[: end + 2]).lower()
        self._is_off = any(name in head for name in _BODY_HEADERS)
        self._may_be_marker = not self._is_off
        self.passed_heads += bool(head.strip())
        self._head.clear()
        return data[taken:]

"""OpenPGP packets (RFC 4880 section 4): where each begins and ends. Pure: what is in them is unknown here."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.errors import ProxyError

IS_PACKET = 0x80
"""Set in the first byte of every packet, and of no text."""
_IS_NEW = 0x40
_OLD_LENGTH_BYTES = {0: 1, 1: 2, 2: 4}
_NEW_TWO_BYTES = 192
_NEW_PARTIAL = 224
_NEW_FOUR_BYTES = 255
_LAST_OLD_TAG = 15


class PacketError(ProxyError):
    """Bytes that are no packets, from position `at` on."""

    def __init__(self, problem: str, at: int) -> None:
        super().__init__(problem)
        self.at = at


class Packet(NamedTuple):
    """One packet of a sequence."""

    tag: int
    raw: bytes
    """As it stood there, header included."""
    body: bytes


def packets(data: bytes) -> Iterator[Packet]:
    """Yield the packets that `data` consists of. Raises PacketError where it does not."""
    position = 0
    while position < len(data):
        tag, begin, end = _bounds(data, position)
        if end > len(data):
            raise PacketError("it does not end where it says", position)
        yield Packet(tag, data[position:end], data[begin:end])
        position = end


def packet(tag: int, body: bytes) -> bytes:
    """Return a packet with the shortest header that its tag and length allow, in the old format if it can."""
    size = len(body)
    if tag > _LAST_OLD_TAG:
        return bytes([IS_PACKET | _IS_NEW | tag, _NEW_FOUR_BYTES]) + size.to_bytes(4) + body
    kind = next(kind for kind, length in _OLD_LENGTH_BYTES.items() if size < 256**length)
    return bytes([IS_PACKET | tag << 2 | kind]) + size.to_bytes(_OLD_LENGTH_BYTES[kind]) + body


def _bounds(data: bytes, at: int) -> tuple[int, int, int]:
    """Return the tag of the packet at a position, where its body begins, and where it ends."""
    first, rest = data[at], data[at + 1 : at + 6]
    if not first & IS_PACKET:
        raise PacketError("it holds something else than packets", at)
    if first & _IS_NEW:
        header, size = _new_length(rest)
        if not header:
            raise PacketError("it has a packet without a length", at)
        return first & 0x3F, at + 1 + header, at + 1 + header + size
    header = _OLD_LENGTH_BYTES.get(first & 3, len(rest) + 1)
    if len(rest) < header:
        raise PacketError("it has a packet without a length", at)
    begin = at + 1 + header
    return (first >> 2) & 0x0F, begin, begin + int.from_bytes(rest[:header])


def _new_length(rest: bytes) -> tuple[int, int]:
    """Return how long the length of a packet of the new format is, and its body; zeros if it says neither."""
    begin = rest[0] if rest else _NEW_PARTIAL
    if begin < _NEW_TWO_BYTES:
        return 1, begin
    if begin < _NEW_PARTIAL and len(rest) > 1:
        return 2, ((begin - _NEW_TWO_BYTES) << 8) + rest[1] + _NEW_TWO_BYTES
    if begin == _NEW_FOUR_BYTES and len(rest) > 4:  # noqa: PLR2004
        return 5, int.from_bytes(rest[1:5])
    return 0, 0

"""Undoing an encoding that nobody asked for: who asks for identity may be sent gzip all the same. Pure."""

import zlib
from collections.abc import Iterable

from proxy.errors import ProxyError

_ANY_HEADER = zlib.MAX_WBITS | 32
"""Of gzip or zlib."""


class CannotUnpack(ProxyError):
    """Bytes that are not encoded as their sender says."""


class TooLarge(ProxyError):
    """Bytes that are more than allowed once they are unpacked."""


def unpacked(data: bytes, codings: Iterable[str], limit_bytes: int) -> bytes:
    """Return what was encoded, in the order of `codings`; those that are unknown here are passed over.

    Blocks. Raises CannotUnpack or TooLarge.
    """
    for coding in reversed([one for one in codings if one in {"gzip", "deflate"}]):
        data = _undone(data, coding, limit_bytes)
    return data


def _undone(data: bytes, coding: str, limit_bytes: int) -> bytes:
    for window_bits in (_ANY_HEADER, -zlib.MAX_WBITS) if coding == "deflate" else (_ANY_HEADER,):
        # Some leave deflate's header out (RFC 9110 section 8.4.1.2).
        decompressor = zlib.decompressobj(window_bits)
        try:
            text = decompressor.decompress(data, limit_bytes + 1)
        except zlib.error as error:
            problem = str(error)
            continue
        if len(text) > limit_bytes:
            raise TooLarge(f"it has more than {limit_bytes} bytes")
        if not decompressor.eof:
            raise CannotUnpack(f"its {coding} is cut off")
        return text
    raise CannotUnpack(f"it claims {coding} and sent none: {problem}")

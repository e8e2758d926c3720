"""What a document may look like before it is parsed: bounds on the memory and time that parsing takes.

A byte of JSON can cost 25 bytes of memory: `[]` is an object of its own. Lists
as mirrors publish them have one object for every hundred bytes or so.
"""

from proxy.errors import ProxyError

_BLOCK_BYTES = 1024 * 1024
_FEW_OBJECTS = 100_000
_BYTES_FOR_EACH = 32
_LARGER_FLAVOUR = 4
"""By how much white space may lengthen a document."""
_SMALL_BYTES = 64 * 1024


class TooComplex(ProxyError):
    """A document that would cost far more to read than its size tells."""


def check_shape(raw: bytes) -> None:
    """Raise TooComplex for JSON of more objects and lists than a document of its size has.

    Brackets in texts are counted too; there are few. Other threads get their turn meanwhile.
    """
    allowed = _FEW_OBJECTS + len(raw) // _BYTES_FOR_EACH
    found = 0
    for start in range(0, len(raw), _BLOCK_BYTES):
        stop = start + _BLOCK_BYTES
        found += raw.count(b"{", start, stop) + raw.count(b"[", start, stop)
        if found > allowed:
            raise TooComplex(
                f"it holds more than {allowed} objects and lists, more than any list of {len(raw)} bytes"
            )


def check_flavour(proved: bytes, other: bytes) -> None:
    """Raise TooComplex for a text much too large to say the same as a proved one."""
    most = _LARGER_FLAVOUR * len(proved) + _SMALL_BYTES
    if len(other) > most:
        raise TooComplex(f"it has {len(other)} bytes, too many to say what {len(proved)} signed bytes say")

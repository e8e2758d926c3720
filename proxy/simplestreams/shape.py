"""What a document may look like before it is parsed: bounds on the memory and time that parsing takes.

A byte of JSON can cost 25 bytes of memory: `[]` is an object of its own. Lists
as mirrors publish them have one object for every hundred bytes or so, and no
more than ten in one another. How many of those Python can read depends on its
version and on who calls.
"""

from collections.abc import Iterator
from itertools import accumulate

from proxy.errors import ProxyError

_BLOCK_BYTES = 1024 * 1024
_FEW_OBJECTS = 100_000
_BYTES_FOR_EACH = 32
_DEEPEST = 300
_BACKSLASH = ord("\\")
_NO_BRACKET_OR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_DOWN, _UP = 1, 255
_STEPS = bytes.maketrans(b"[{]}", bytes((_DOWN, _DOWN, _UP, _UP)))
"""What a bracket means for the depth, as a signed byte."""
_LARGER_FLAVOUR = 4
"""By how much white space may lengthen a document."""
_SMALL_BYTES = 64 * 1024


class TooComplex(ProxyError):
    """A document that would cost far more to read than its size tells."""


def check_shape(raw: bytes) -> None:
    """Raise TooComplex for JSON of more objects and lists than a document of its size has, or deeper ones.

    Other threads get their turn meanwhile.
    """
    allowed = _FEW_OBJECTS + len(raw) // _BYTES_FOR_EACH
    found = depth = 0
    for steps in _steps(raw):
        opened = steps.count(_DOWN)
        found += opened
        if found > allowed:
            raise TooComplex(
                f"it holds more than {allowed} objects and lists, more than any list of {len(raw)} bytes"
            )
        if max(accumulate(memoryview(steps).cast("b"), initial=depth)) > _DEEPEST:
            raise TooComplex(
                f"it is nested too deeply: more than {_DEEPEST} objects and lists in one another"
            )
        depth += opened - (len(steps) - opened)


def _steps(raw: bytes) -> Iterator[bytes]:
    """Yield, block by block, the brackets that are not in a text, as steps down and up."""
    start, is_text = 0, 0
    while start < len(raw):
        stop = start + _BLOCK_BYTES
        while stop < len(raw) and raw[stop - 1] == _BACKSLASH:
            stop += 1  # What is escaped belongs to the same block.
        block = raw[start:stop].replace(b"\\\\", b"").replace(b'\\"', b"")
        parts = block.translate(None, _NO_BRACKET_OR_QUOTE).split(b'"')
        yield b"".join(parts[is_text::2]).translate(_STEPS)
        is_text = (is_text + len(parts) - 1) % 2
        start = stop


def check_flavour(proved: bytes, other: bytes) -> None:
    """Raise TooComplex for a text much too large to say the same as a proved one."""
    most = _LARGER_FLAVOUR * len(proved) + _SMALL_BYTES
    if len(other) > most:
        raise TooComplex(f"it has {len(other)} bytes, too many to say what {len(proved)} signed bytes say")

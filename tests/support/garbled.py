"""Bytes made from known ones: cut, doubled, joined, flipped, with pieces that parsers stumble over put in."""

from collections.abc import Sequence
from random import Random

_PIECES = [
    *(
        b"\0",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\\",
        b"/",
        b"..",
        b"%2e",
        b"%00",
        b"%",
        b"\xff",
        b"\xc0\xae",
    ),
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b'"',
        b",",
        b":",
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"-1",
        b"\\ud800",
        b"9" * 30,
    ),
    *(
        b"0\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"-----",
        b"=",
        b"~",
        b"(",
        b")*",
        b"*",
    ),
]
_MOST_BYTES = 20_000


def garbled(chance: Random, seeds: Sequence[bytes]) -> bytes:
    """Return one of the seeds, changed in some places."""
    data = bytearray(chance.choice(seeds))
    for _ in range(chance.choice((0, 1, 1, 2, 2, 4, 8, 16))):
        at = chance.randint(0, len(data))
        stop = at + chance.randint(0, min(64, len(data) - at))
        match chance.randrange(7):
            case 0:
                del data[at:stop]
            case 1:
                data[at:at] = data[at:stop] * chance.choice((1, 2, 40))
            case 2:
                data[at:stop] = chance.choice(_PIECES)
            case 3:
                data[at:at] = chance.choice(_PIECES)
            case 4:
                other = chance.choice(seeds)
                data[at:] = other[chance.randint(0, len(other)) :]
            case 5 if at < len(data):
                data[at] = chance.randrange(256)
            case _:
                data[at:at] = chance.randbytes(chance.randint(0, 4))
    return bytes(data[:_MOST_BYTES])

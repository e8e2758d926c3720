"""What one products list names, as lines of text in the order of paths: for people who look for files.

    head      magic, number of lines, bytes of text
    text      path, version, product, type, release, architecture, SHA-256 and size of each file,
              with tabs between, each before a line feed
    u64[]     where every 50th line begins in the text

To search is to look for words in text, some of it at a time, so a million files take no memory.
Numbers are in this machine's own order. Knows bytes, not files.
"""

import struct
import sys
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate, islice
from typing import NamedTuple

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.model import Products
from proxy.simplestreams.walk import Position, positions

_MAGIC = f"sstream-contents:1:{sys.byteorder}".encode().ljust(32, b"\0")
_HEAD = struct.Struct("=32sQQ")
_STEP = 50
_WORD = 8
_READ_BYTES = 256 * 1024
_FIELDS = 8
_LONGEST_PRODUCTS = 300
"""In letters: more products than so many are not told of."""
_CONTROLS = dict.fromkeys(range(32), "\N{REPLACEMENT CHARACTER}")


class ContentsDamaged(ProxyError):
    """Bytes that this program's `pack_contents` did not write."""


class Line(NamedTuple):
    """A file that a list names."""

    path: str
    version: str
    product: str
    ftype: str
    release: str
    arch: str
    digest: Digest
    size_bytes: int


class Found(NamedTuple):
    """Some of the lines that a search finds."""

    lines: list[Line]
    total: int
    is_more: bool
    """Whether not all were counted."""


def pack_contents(products: Products) -> bytes:
    """Write down what a list names. A file that several products name has one line, with all of them."""
    found: dict[tuple[str, Digest], Line] = {}
    for position in positions(products):
        file = listed_file(position)
        if file is None:
            continue
        known = found.get((file.path, file.digest))
        if known is None:
            found[file.path, file.digest] = Line(
                path=_shown(file.path),
                version=_shown(position.version),
                product=_shown(position.product),
                ftype=_text(position, "ftype"),
                release=_text(position, "release"),
                arch=_text(position, "arch"),
                digest=file.digest,
                size_bytes=file.size_bytes,
            )
        elif len(known.product) < _LONGEST_PRODUCTS and position.product not in known.product:
            product = f"{known.product}, {_shown(position.product)}"
            found[file.path, file.digest] = known._replace(product=product)
    lines = sorted("\t".join(map(str, line)).encode(errors="replace") + b"\n" for line in found.values())
    starts = accumulate(map(len, lines), initial=0)
    steps = array("Q", islice(starts, 0, max(len(lines), 1), _STEP))
    text = b"".join(lines)
    return b"".join([_HEAD.pack(_MAGIC, len(lines), len(text)), text, steps.tobytes()])


def _text(position: Position, name: str) -> str:
    value = position.field(name)
    return "" if value is None else _shown(str(value))


def _shown(name: str) -> str:
    """Return a name that ends neither field nor line."""
    return name.translate(_CONTROLS)


class Contents:
    """Lines that were packed, read by `read(start, stop)` where they are asked for."""

    def __init__(self, read: Callable[[int, int], bytes]) -> None:
        """Read the head. Raises ContentsDamaged."""
        head = read(0, _HEAD.size)
        if len(head) != _HEAD.size:
            raise ContentsDamaged("a list's contents are cut short")
        magic, self.count, self._text_bytes = _HEAD.unpack(head)
        if magic != _MAGIC:
            raise ContentsDamaged("a list's contents are of another version of this program")
        self._read = read

    def lines(self, start: int, count: int) -> list[Line]:
        """Return `count` lines from number `start` on."""
        if start >= self.count:
            return []
        step_at = _HEAD.size + self._text_bytes + start // _STEP * _WORD
        (at,) = struct.unpack("=Q", self._read(step_at, step_at + _WORD))
        found = islice(self._texts(at), start % _STEP, start % _STEP + count)
        return list(map(_parsed, found))

    def search(
        self, words: Sequence[str], start: int, count: int, most: int, is_wanted: Callable[[Line], bool]
    ) -> Found:
        """Return the wanted lines with all words in them, from number `start` of them on; count `most`."""
        sought = [word.lower().encode(errors="replace") for word in words]
        lines: list[Line] = []
        total = 0
        for text in self._with(sought):
            line = _parsed(text)
            if not is_wanted(line):
                continue
            if total >= most:
                return Found(lines, total, is_more=True)
            if start <= total < start + count:
                lines.append(line)
            total += 1
        return Found(lines, total, is_more=False)

    def _with(self, words: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the lines with all words in them. Most others are passed over many at a time."""
        if not words:
            yield from self._texts(0)
            return
        rarest = max(words, key=len)
        for text in self._chunks(0):
            lower, at = text.lower(), 0
            while (at := lower.find(rarest, at)) >= 0:
                first, last = lower.rfind(b"\n", 0, at) + 1, lower.index(b"\n", at)
                if all(lower.find(word, first, last) >= 0 for word in words):
                    yield text[first:last]
                at = last

    def _texts(self, at: int) -> Iterator[bytes]:
        for chunk in self._chunks(at):
            yield from chunk.split(b"\n")[:-1]

    def _chunks(self, at: int) -> Iterator[bytes]:
        """Yield whole lines, many at a time, from a line's beginning on."""
        rest = b""
        while at < self._text_bytes:
            stop = min(at + _READ_BYTES, self._text_bytes)
            data = self._read(_HEAD.size + at, _HEAD.size + stop)
            if len(data) != stop - at:
                raise ContentsDamaged("a list's contents are cut short")
            at = stop
            whole, _, last = (rest + data).rpartition(b"\n")
            if whole:
                yield whole + b"\n"
            rest = last


def _parsed(text: bytes) -> Line:
    fields = text.decode(errors="replace").split("\t")
    if len(fields) != _FIELDS:
        raise ContentsDamaged("a list's contents are damaged")
    path, version, product, ftype, release, arch, digest, size_bytes = fields
    return Line(path, version, product, ftype, release, arch, Digest(digest), int(size_bytes))

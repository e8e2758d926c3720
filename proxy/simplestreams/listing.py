"""What one products list names, packed into one run of bytes.

A list may name a million files, and every worker process needs them all. Packed,
they are written to a file once and shared by mapping it; to look one up takes a
binary search and makes no objects of the rest.

    head      magic, rows, digests, bytes of text, bytes of version names
    u64[]     beginning of a hash of each path, sorted
    32 x u8   each path's SHA-256
    u64[]     each path's size in bytes; _UNVERIFIABLE for one that nothing proves
    u64[]     where each path ends in the text
    u64[]     beginnings of the digests, sorted
    u32[]     the row of each
    u32[]     each path's version, by number
    text      the paths, one after the other; then as JSON the version names, and the conflicts

Numbers are in this machine's own order. Knows bytes, not files.
"""

import hashlib
import json
import struct
import sys
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from mmap import mmap
from typing import NamedTuple

from proxy.digest import Digest
from proxy.errors import ProxyError

FORMAT = "sstream-listing:1.1"
"""Changes with the layout, or with what is read from lists."""

_MAGIC = f"{FORMAT}:{sys.byteorder}".encode().ljust(32, b"\0")
_HEAD = struct.Struct("=32s4Q")
_KEY = struct.Struct("=Q")
_DIGEST_BYTES = 32
_KEY_BYTES = 8
_ROW_BYTES = 4
_UNVERIFIABLE = 2**64 - 1
_KEYS = 2**64
_KEYS_AT_ONCE = 4096
"""So many are compared at a time, for few are soon done and need little memory."""


class ListingDamaged(ProxyError):
    """Bytes that this program's `pack` did not write."""


class Entry(NamedTuple):
    """A listed path: the version that names it, and its proof if it has one."""

    path: str
    version: str
    digest: Digest | None
    size_bytes: int


class Conflict(NamedTuple):
    """Two entries of one path that do not say the same."""

    kept: Entry
    """What is served."""
    other: Entry


def contradict(one: Entry, other: Entry) -> bool:
    """Whether two entries of a path have a proof each, of different contents."""
    if one.digest is None or other.digest is None:
        return False
    return (one.digest, one.size_bytes) != (other.digest, other.size_bytes)


class Listing:
    """Packed entries, each path once."""

    __slots__ = (
        "__weakref__",
        "_digest_keys",
        "_digest_rows",
        "_digests",
        "_ends",
        "_keys",
        "_numbers",
        "_sizes",
        "_text",
        "_versions",
        "conflicts",
        "verifiable",
    )  # fmt: skip

    def __init__(self, packed: bytes | mmap) -> None:
        """Read what `pack` wrote, in place. Raises ListingDamaged for what it cannot have written."""
        view = memoryview(packed)
        if len(view) < _HEAD.size:
            raise ListingDamaged("a packed list is cut short")
        magic, rows, verifiable, text_bytes, version_bytes = _HEAD.unpack_from(view)
        if magic != _MAGIC:
            raise ListingDamaged("a packed list is of another version of this program")
        position = _HEAD.size

        def take(count: int) -> memoryview:
            nonlocal position
            position += count
            return view[position - count : position]

        self._keys = take(rows * _KEY_BYTES).cast("Q")
        self._digests = take(rows * _DIGEST_BYTES)
        self._sizes = take(rows * _KEY_BYTES).cast("Q")
        self._ends = take(rows * _KEY_BYTES).cast("Q")
        self._digest_keys = take(verifiable * _KEY_BYTES).cast("Q")
        self._digest_rows = take(verifiable * _ROW_BYTES).cast("I")
        self._numbers = take(rows * _ROW_BYTES).cast("I")
        self._text = take(text_bytes)
        told = json.loads(bytes(take(version_bytes)))
        self._versions: list[str] = told["versions"]
        self.conflicts = [Conflict(Entry(*kept), Entry(*other)) for kept, other in told["conflicts"]]
        """Paths that this list names twice, and not alike; few of them, if there are many."""
        self.verifiable: int = verifiable
        """How many paths have a proof."""

    @staticmethod
    def are_disjoint(listings: Sequence["Listing"]) -> bool:
        """Whether no path is in several lists. True is right; False may come of hashes that begin alike."""
        if len(listings) < 2:  # noqa: PLR2004 - one alone has nothing to share
            return True
        steps = 1 + sum(len(listing._keys) for listing in listings) // _KEYS_AT_ONCE  # noqa: SLF001
        for step in range(steps):
            low, high = _KEYS * step // steps, _KEYS * (step + 1) // steps
            shares = [listing._keys_from(low, high) for listing in listings]  # noqa: SLF001
            if len(set().union(*shares)) < sum(map(len, shares)):
                return False
        return True

    @staticmethod
    def shared(listings: Sequence["Listing"]) -> Iterator[list[tuple[int, Entry]]]:
        """Yield the entries of paths that several lists name, and not alike, with their lists' numbers."""
        steps = 1 + sum(len(listing._keys) for listing in listings) // _KEYS_AT_ONCE  # noqa: SLF001
        for step in range(steps):
            low, high = _KEYS * step // steps, _KEYS * (step + 1) // steps
            rows = defaultdict[int, list[tuple[int, int]]](list)
            for number, listing in enumerate(listings):
                first = bisect_left(listing._keys, low)  # noqa: SLF001
                for row, key in enumerate(listing._keys_from(low, high), first):  # noqa: SLF001
                    rows[key].append((number, row))
            for found in rows.values():
                if len({listings[number]._statement(row) for number, row in found}) > 1:  # noqa: SLF001
                    yield [(number, listings[number]._entry(row)) for number, row in found]  # noqa: SLF001

    def _statement(self, row: int) -> tuple[bytes, int]:
        """Return what is said of a row's content."""
        return bytes(self._digest(row)), self._sizes[row]

    def _keys_from(self, low: int, high: int) -> memoryview:
        """Return the keys in [low, high)."""
        return self._keys[bisect_left(self._keys, low) : bisect_left(self._keys, high)]

    def find(self, path: str) -> Entry | None:
        """Return the entry of a canonical path, None when the list does not name it."""
        written = path.encode(errors="surrogatepass")
        key = _path_key(written)
        row = bisect_left(self._keys, key)
        while row < len(self._keys) and self._keys[row] == key:
            if self._path(row) == written:
                return self._entry(row)
            row += 1
        return None

    def find_digest(self, digest: Digest) -> Entry | None:
        """Return an entry with a digest, None when no path has it."""
        raw = bytes.fromhex(digest)
        key = _beginning(raw)
        place = bisect_left(self._digest_keys, key)
        while place < len(self._digest_keys) and self._digest_keys[place] == key:
            row = self._digest_rows[place]
            if self._digest(row) == raw:
                return self._entry(row)
            place += 1
        return None

    def __iter__(self) -> Iterator[Entry]:
        return (self._entry(row) for row in range(len(self._keys)))

    def _entry(self, row: int) -> Entry:
        path, version = bytes(self._path(row)).decode(), self._versions[self._numbers[row]]
        size_bytes = self._sizes[row]
        if size_bytes == _UNVERIFIABLE:
            return Entry(path, version, None, 0)
        return Entry(path, version, Digest(self._digest(row).hex()), size_bytes)

    def _path(self, row: int) -> memoryview:
        return self._text[self._ends[row - 1] if row else 0 : self._ends[row]]

    def _digest(self, row: int) -> memoryview:
        return self._digests[row * _DIGEST_BYTES : (row + 1) * _DIGEST_BYTES]


def pack(entries: Iterable[Entry], conflicts: Sequence[Conflict] = ()) -> bytes:
    """Pack entries; no path may stand twice. `conflicts` tell of those that did in the list."""
    keyed = sorted((_path_key(entry.path.encode()), entry) for entry in entries)
    rows = [entry for _, entry in keyed]
    numbers: dict[str, int] = {}
    for entry in rows:
        numbers.setdefault(entry.version, len(numbers))
    raw_digests = [b"" if entry.digest is None else bytes.fromhex(entry.digest) for entry in rows]
    by_digest = sorted((_beginning(raw), row) for row, raw in enumerate(raw_digests) if raw)
    text = [entry.path.encode() for entry in rows]
    versions = json.dumps({"versions": list(numbers), "conflicts": conflicts}).encode()
    return b"".join(
        [
            _HEAD.pack(_MAGIC, len(rows), len(by_digest), sum(map(len, text)), len(versions)),
            _numbers("Q", (key for key, _ in keyed)),
            b"".join(raw.ljust(_DIGEST_BYTES, b"\0") for raw in raw_digests),
            _numbers("Q", (_UNVERIFIABLE if entry.digest is None else entry.size_bytes for entry in rows)),
            _numbers("Q", accumulate(map(len, text))),
            _numbers("Q", (key for key, _ in by_digest)),
            _numbers("I", (row for _, row in by_digest)),
            _numbers("I", (numbers[entry.version] for entry in rows)),
            *text,
            versions,
        ]
    )


def _path_key(path: bytes) -> int:
    return _beginning(hashlib.blake2b(path, digest_size=_KEY_BYTES).digest())


def _beginning(raw: bytes) -> int:
    key: int = _KEY.unpack_from(raw)[0]
    return key


def _numbers(kind: str, numbers: Iterable[int]) -> bytes:
    return array(kind, numbers).tobytes()

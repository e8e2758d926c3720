"""What one products list names, packed into one run of bytes.

A list may name a million files, and every worker process needs them all. Packed,
they are written to a file once, whose pages all of them share; to look one up takes
a binary search and makes no objects of the rest.

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
from typing import Literal, NamedTuple, Protocol

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
_FORMATS: dict[str, Literal["Q", "I"]] = {"Q": "Q", "I": "I"}
_KEYS_AT_ONCE = 4096
"""So many are compared at a time, for few are soon done and need little memory."""


class ListingDamaged(ProxyError):
    """Bytes that this program's `pack` did not write."""


class Numbers(Protocol):
    """Many numbers of one kind, one after the other."""

    def __len__(self) -> int:
        """Return how many there are."""

    def __getitem__(self, place: int, /) -> int:
        """Return one of them."""


class Packed(Protocol):
    """Where packed bytes lie. Whatever is asked for raises ListingDamaged when it cannot be read any more."""

    is_damaged: bool
    """Whether that has happened."""

    def __len__(self) -> int:
        """Return how many bytes there are."""

    def span(self, start: int, stop: int) -> bytes | memoryview:
        """Return the bytes of [start, stop)."""

    def numbers(self, start: int, count: int, kind: str) -> Numbers:
        """Return `count` numbers from `start` on; `kind` is that of `array`."""


class InMemory:
    """Packed bytes in the memory of this process."""

    is_damaged = False

    def __init__(self, packed: bytes) -> None:
        self._view = memoryview(packed)

    def __len__(self) -> int:
        return len(self._view)

    def span(self, start: int, stop: int) -> memoryview:
        """Return the bytes of [start, stop)."""
        return self._view[start:stop]

    def numbers(self, start: int, count: int, kind: str) -> memoryview:
        """Return a view of numbers, in place."""
        return self._view[start : start + count * array(kind).itemsize].cast(_FORMATS[kind])


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
        "_digests_at",
        "_ends",
        "_keys",
        "_numbers",
        "_packed",
        "_sizes",
        "_text_at",
        "_versions",
        "conflicts",
        "verifiable",
    )  # fmt: skip

    def __init__(self, packed: bytes | Packed) -> None:
        """Read what `pack` wrote, in place. Raises ListingDamaged for what it cannot have written."""
        self._packed = source = InMemory(packed) if isinstance(packed, bytes) else packed
        if len(source) < _HEAD.size:
            raise ListingDamaged("a packed list is cut short")
        magic, rows, verifiable, text_bytes, version_bytes = _HEAD.unpack(source.span(0, _HEAD.size))
        if magic != _MAGIC:
            raise ListingDamaged("a packed list is of another version of this program")
        position = _HEAD.size

        def take(size_bytes: int) -> int:
            nonlocal position
            position += size_bytes
            return position - size_bytes

        self._keys = source.numbers(take(rows * _KEY_BYTES), rows, "Q")
        self._digests_at = take(rows * _DIGEST_BYTES)
        self._sizes = source.numbers(take(rows * _KEY_BYTES), rows, "Q")
        self._ends = source.numbers(take(rows * _KEY_BYTES), rows, "Q")
        self._digest_keys = source.numbers(take(verifiable * _KEY_BYTES), verifiable, "Q")
        self._digest_rows = source.numbers(take(verifiable * _ROW_BYTES), verifiable, "I")
        self._numbers = source.numbers(take(rows * _ROW_BYTES), rows, "I")
        self._text_at = take(text_bytes)
        versions_at = take(version_bytes)
        told = json.loads(bytes(source.span(versions_at, position)))
        self._versions: list[str] = told["versions"]
        self.conflicts = [Conflict(Entry(*kept), Entry(*other)) for kept, other in told["conflicts"]]
        """Paths that this list names twice, and not alike; few of them, if there are many."""
        self.verifiable: int = verifiable
        """How many paths have a proof."""

    @property
    def is_damaged(self) -> bool:
        """Whether something of it could not be read any more."""
        return self._packed.is_damaged

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

    def _keys_from(self, low: int, high: int) -> Sequence[int]:
        """Return the keys in [low, high)."""
        start, stop = bisect_left(self._keys, low), bisect_left(self._keys, high)
        return array("Q", bytes(self._packed.span(*_places(_HEAD.size, start, stop, _KEY_BYTES))))

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

    def _path(self, row: int) -> bytes | memoryview:
        start = self._ends[row - 1] if row else 0
        return self._packed.span(self._text_at + start, self._text_at + self._ends[row])

    def _digest(self, row: int) -> bytes | memoryview:
        return self._packed.span(*_places(self._digests_at, row, row + 1, _DIGEST_BYTES))


def _places(base: int, start: int, stop: int, size_bytes: int) -> tuple[int, int]:
    return base + start * size_bytes, base + stop * size_bytes


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

"""Packed bytes that stay on the disk, read where they are asked for.

Not mapped: a disk that fails, or a file that is cut, would end this process by a
signal. The kernel keeps what is read often, once for all processes.
"""

import os
from array import array

from proxy.simplestreams.listing import ListingDamaged

_NUMBERS_AT_ONCE = 512
"""So many are kept of the last read: an iteration asks for one after the other."""


class OnDisk:
    """A file of packed bytes, open for as long as this lives."""

    _fd = -1

    def __init__(self, fd: int) -> None:
        """Read from the file that `fd` is open for, by a descriptor of its own. Raises OSError."""
        self._length = os.fstat(fd).st_size
        self._fd = os.dup(fd)
        self.is_damaged = False
        """Whether something could not be read any more."""

    def __len__(self) -> int:
        return self._length

    def __del__(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)

    def span(self, start: int, stop: int) -> bytes:
        """Return the bytes of [start, stop). Raises ListingDamaged."""
        try:
            data = os.pread(self._fd, stop - start, start)
        except OSError as error:
            self.is_damaged = True
            raise ListingDamaged(f"a packed list cannot be read any more: {error}") from error
        if len(data) != stop - start:
            self.is_damaged = True
            raise ListingDamaged("a packed list has been cut short")
        return data

    def numbers(self, start: int, count: int, kind: str) -> "NumbersOnDisk":
        """Return `count` numbers from `start` on; `kind` is that of `array`."""
        return NumbersOnDisk(self, start, count, kind)


class NumbersOnDisk:
    """Numbers that are read a few at a time."""

    __slots__ = ("_count", "_kind", "_packed", "_recent", "_size_bytes", "_start")

    def __init__(self, packed: OnDisk, start: int, count: int, kind: str) -> None:
        self._packed = packed
        self._start = start
        self._count = count
        self._kind = kind
        self._size_bytes = array(kind).itemsize
        self._recent = (0, array(kind))
        """Where the last read began, and what it brought: one value, for several threads may ask."""

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> int:
        """Return one number. Raises IndexError, or ListingDamaged."""
        first, recent = self._recent
        if not first <= place < first + len(recent):
            if not 0 <= place < self._count:
                raise IndexError(place)
            first = place - place % _NUMBERS_AT_ONCE
            stop = min(first + _NUMBERS_AT_ONCE, self._count)
            size = self._size_bytes
            recent = array(
                self._kind, self._packed.span(self._start + first * size, self._start + stop * size)
            )
            self._recent = (first, recent)
        return int(recent[place - first])

"""A file of counters: all time, and by five minutes for the last day.

Mapped into memory and written by one process at a time, so that counting costs
no system call, loses nothing when the process is killed, and readers in other
processes need no lock. The file says itself what it counts, so that a release with
other counters goes on with those that it knows, begins new ones at 0 and leaves
the others as they are. All numbers are unsigned 64-bit integers:

    "counters"          8 bytes that such a file begins with
    b                   length of the names in bytes, a multiple of 8
    b bytes             the names of n counters in UTF-8, each before a line feed; zero bytes fill it up
    n                   totals
    288 x (1 + n)       number of the five minutes since 1970, counts in them
"""

import mmap
import threading
from array import array
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from sys import byteorder
from typing import NamedTuple

from proxy.system.mapped_files import map_replacement, map_whole

STEP_S = 300
STEPS = 288
_WORD = 8
_MARK = b"counters"
_HEAD_BYTES = 2 * _WORD


class Row(NamedTuple):
    """The counts of one step of time."""

    number: int
    """Of the step since 1970: its start is `number * STEP_S`."""
    counts: tuple[int, ...]


class Counts(NamedTuple):
    """What one file says."""

    totals: tuple[int, ...]
    rows: tuple[Row, ...]
    """Of the last day, in no order; steps in which nothing happened may be missing."""


class Tally:
    """The counters of one subject, written by this process."""

    def __init__(self, path: Path, names: Sequence[str], clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._memory, in_file = _open(path, names)
        self._columns = [in_file.index(name) for name in names]
        """Where the file has each counter."""
        self._width = len(in_file)
        self._words = memoryview(self._memory)[_start(in_file) :].cast("Q")

    def add(self, *amounts: tuple[int, int]) -> None:
        """Add to counters: (index, amount) each."""
        with self._lock:
            number = int(self._clock()) // STEP_S
            row = self._width + number % STEPS * (1 + self._width)
            words, columns = self._words, self._columns
            if words[row] != number:
                for index in range(row + 1, row + 1 + self._width):
                    words[index] = 0
                words[row] = number
            for index, amount in amounts:
                column = columns[index]
                words[column] += amount
                words[row + 1 + column] += amount

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._words.release()
            self._memory.close()


def read_counts(path: Path, names: Sequence[str]) -> Counts | None:
    """Return what a file says of these counters, 0 of those that it has not; None if it is no such file."""
    data = path.read_bytes()
    in_file = _names(data)
    return None if in_file is None else unpack(data[_start(in_file) :], in_file, names)


def unpack(words: bytes, in_file: Sequence[str], names: Sequence[str]) -> Counts:
    """Return what the numbers of the counters `in_file` say of the counters `names`."""
    numbers = memoryview(words).cast("Q")
    width = len(in_file)
    columns = [in_file.index(name) if name in in_file else None for name in names]
    is_alike = list(names) == list(in_file)

    def counts(start: int) -> tuple[int, ...]:
        if is_alike:
            return tuple(numbers[start : start + width])
        return tuple(0 if column is None else numbers[start + column] for column in columns)

    starts = range(width, len(numbers), 1 + width)
    return Counts(counts(0), tuple(Row(numbers[at], counts(at + 1)) for at in starts if numbers[at]))


def words_bytes(names: Sequence[str]) -> int:
    """Return how many bytes the numbers of these counters take."""
    return _WORD * (len(names) + STEPS * (1 + len(names)))


def _open(path: Path, names: Sequence[str]) -> tuple[mmap.mmap, list[str]]:
    """Map a file that has all these counters, and return the names of those that it has."""
    memory = map_whole(path)
    if memory is None:
        return map_replacement(path, _pack(names, None)), list(names)
    in_file = _names(memory) or []
    if set(names) <= set(in_file):
        return memory, in_file
    wanted = list(dict.fromkeys(chain(in_file, names)))
    kept = unpack(memory[_start(in_file) :], in_file, wanted) if in_file else None
    return map_replacement(path, _pack(wanted, kept)), wanted


def _pack(names: Sequence[str], counts: Counts | None) -> bytes:
    """Return a file of these counters, which says what was counted before, or nothing."""
    nothing = (0,) * len(names)
    rows = {} if counts is None else {row.number % STEPS: row for row in counts.rows}
    numbers = array("Q", nothing if counts is None else counts.totals)
    for place in range(STEPS):
        row = rows.get(place, Row(0, nothing))
        numbers.extend((row.number, *row.counts))
    told = "".join(f"{name}\n" for name in names).encode()
    told += bytes(-len(told) % _WORD)
    return b"".join([_MARK, len(told).to_bytes(_WORD, byteorder), told, numbers.tobytes()])


def _names(data: bytes | mmap.mmap) -> list[str] | None:
    """Return what a file counts, None for one that is no whole file of counters."""
    if data[:_WORD] != _MARK or len(data) < _HEAD_BYTES:
        return None
    told = data[_HEAD_BYTES : _HEAD_BYTES + int.from_bytes(data[_WORD:_HEAD_BYTES], byteorder)]
    try:
        names = told.rstrip(b"\0").decode().split("\n")[:-1]
    except UnicodeDecodeError:
        return None
    is_whole = len(data) == _start(names) + words_bytes(names)
    return names if is_whole and len(set(names)) == len(names) else None


def _start(names: Sequence[str]) -> int:
    """Return where the numbers of these counters begin in a file."""
    length = sum(len(name.encode()) + 1 for name in names)
    return _HEAD_BYTES + length + -length % _WORD

"""A file of counters: all time, and by five minutes for the last day.

Mapped into memory and written by one process at a time, so that counting costs
no system call, loses nothing when the process is killed, and readers in other
processes need no lock. All numbers are unsigned 64-bit integers:

    1                   identifies the counters' names
    n                   totals
    288 x (1 + n)       number of the five minutes since 1970, counts in them
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from proxy.system.mapped_files import map_file

STEP_S = 300
STEPS = 288
_WORD = 8


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
        self._width = len(names)
        self._lock = threading.Lock()
        self._memory = map_file(path, _size(names))
        self._words = memoryview(self._memory).cast("Q")
        if self._words[0] != _identity(names):
            # Written by another release, with other counters: those numbers mean nothing here.
            self._memory[:] = bytes(len(self._memory))
            self._words[0] = _identity(names)

    def add(self, *amounts: tuple[int, int]) -> None:
        """Add to counters: (index, amount) each."""
        with self._lock:
            number = int(self._clock()) // STEP_S
            row = 1 + self._width + number % STEPS * (1 + self._width)
            words = self._words
            if words[row] != number:
                for index in range(row + 1, row + 1 + self._width):
                    words[index] = 0
                words[row] = number
            for index, amount in amounts:
                words[1 + index] += amount
                words[row + 1 + index] += amount

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._words.release()
            self._memory.close()


def read_counts(path: Path, names: Sequence[str]) -> Counts | None:
    """Return what a file of these counters says, None for one of other counters."""
    with _words(path) as words:
        if len(words) != _size(names) // _WORD or words[0] != _identity(names):
            return None
        width = len(names)
        totals = tuple(words[1 : 1 + width])
        starts = range(1 + width, len(words), 1 + width)
        rows = tuple(Row(words[at], tuple(words[at + 1 : at + 1 + width])) for at in starts if words[at])
        return Counts(totals, rows)


@contextmanager
def _words(path: Path) -> Iterator[memoryview]:
    data = path.read_bytes()
    yield memoryview(data[: len(data) // _WORD * _WORD]).cast("Q")


def _size(names: Sequence[str]) -> int:
    return _WORD * (1 + len(names) + STEPS * (1 + len(names)))


def _identity(names: Sequence[str]) -> int:
    return int.from_bytes(blake2b("\n".join(names).encode(), digest_size=_WORD).digest())

"""What each process is doing now: numbers that others read for as long as it lives.

stats/<n>/now    two words, of the process that has marked stats/<n>/lock
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

from proxy.system.file_marks import is_marked, mark
from proxy.system.mapped_files import map_file

_WORDS = struct.Struct("=QQ")


class Transfers(NamedTuple):
    """Transfers from origins at this moment."""

    running: int = 0
    waiting: int = 0
    """For a place to run at."""


class Now:
    """This process's numbers."""

    def __init__(self, slot: Path, lock: int) -> None:
        self._memory = map_file(slot / "now", _WORDS.size)
        self.note(Transfers())
        mark(lock)

    def note(self, transfers: Transfers) -> None:
        """Tell how many there are."""
        _WORDS.pack_into(self._memory, 0, *transfers)

    def close(self) -> None:
        """Tell of nothing any more."""
        self.note(Transfers())
        self._memory.close()


def read_now(directory: Path) -> Transfers:
    """Sum up what all living processes do. Blocks."""
    found = [_read(slot) for slot in directory.glob("*")]
    return Transfers(sum(one.running for one in found), sum(one.waiting for one in found))


def _read(slot: Path) -> Transfers:
    try:
        lock = os.open(slot / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return Transfers()
    try:
        return Transfers(*_WORDS.unpack((slot / "now").read_bytes())) if is_marked(lock) else Transfers()
    except (OSError, struct.error):
        return Transfers()
    finally:
        os.close(lock)

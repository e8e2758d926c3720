"""Whether anything is recorded: two words in a file that is mapped into every process's memory.

    8 bytes    1 while there is a recording that runs or ended a moment ago, else 0
    8 bytes    a turn: another number each time that a recording is begun, ended or deleted

So asking costs no system call while nothing is recorded, and a recording reaches all
processes at once. Which recordings there are, their files say.

A process that has noted something and not yet written it down holds a lock on one byte of
the file, at the number of the turn in which it noted it: whoever ends a recording waits
for those of earlier turns. The kernel drops the lock of a process that dies.
"""

import contextlib
import fcntl
import os
import struct
import time
from collections import Counter
from pathlib import Path

from proxy.system.mapped_files import map_descriptor

_WORDS = 2
_SIZE = 8 * _WORDS
_ON, _TURN = range(_WORDS)
_FLOCK = struct.Struct("@hhqqi0q")
"""struct flock of fcntl(2): type, whence, start, length, process."""
_FIRST_BYTE = 2**40
_TURNS = 2**40
_POLL_S = 0.01


class Board:
    """One process's view."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._memory = map_descriptor(self._fd, _SIZE)
        self._words = memoryview(self._memory).cast("Q")
        self._holds: Counter[int] = Counter()

    @property
    def is_on(self) -> bool:
        """Whether what clients ask for is to be noted."""
        return self._words[_ON] != 0

    @property
    def turn(self) -> int:
        """The number of the last change."""
        return self._words[_TURN]

    def change(self, *, on: bool) -> None:
        """Tell all processes that recordings have changed. For whoever has the lock of the recordings."""
        self._words[_TURN] = (self._words[_TURN] + 1) % _TURNS
        self._words[_ON] = on

    def hold(self) -> int:
        """Show that this process has something to write down; return the turn, for `let_go`."""
        turn = self.turn % _TURNS
        self._holds[turn] += 1
        with contextlib.suppress(OSError):  # Some file systems know no such locks.
            fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _lock(fcntl.F_RDLCK, _FIRST_BYTE + turn, 1))
        return turn

    def let_go(self, turn: int) -> None:
        """Show that what was noted since `hold` returned this turn is written down."""
        self._holds[turn] -= 1
        if not self._holds[turn]:
            del self._holds[turn]
            with contextlib.suppress(OSError):
                fcntl.fcntl(self._fd, fcntl.F_OFD_SETLK, _lock(fcntl.F_UNLCK, _FIRST_BYTE + turn, 1))

    def wait_until_written(self, longest_s: float) -> bool:
        """Return whether all processes have written down what they noted before the last change. Blocks."""
        deadline = time.monotonic() + longest_s
        while self._is_held_before(self.turn):
            if time.monotonic() > deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def close(self) -> None:
        """Close the file; what was noted and not written down is not waited for."""
        self._words.release()
        self._memory.close()
        os.close(self._fd)

    def _is_held_before(self, turn: int) -> bool:
        if not turn:
            return False
        try:
            found = fcntl.fcntl(self._fd, fcntl.F_OFD_GETLK, _lock(fcntl.F_WRLCK, _FIRST_BYTE, turn))
        except OSError:
            return False
        return bool(_FLOCK.unpack(found)[0] != fcntl.F_UNLCK)


def _lock(kind: int, start: int, length: int) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, start, length, 0)

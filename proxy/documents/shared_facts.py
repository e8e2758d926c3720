"""The few facts about a mirror that all workers must know at once.

One small file per mirror, mapped into every worker's memory, so that reading it
costs no system call:

    8 bytes     number of the current generation
    1024 slots  a client's hash (8 bytes), the generation whose index it read
                last (4), and when (4, Unix seconds)

The same file's lock says who revalidates the mirror. Slots are written without
a lock: a torn or overwritten one merely makes its client read the current list.
"""

import fcntl
import os
import struct
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from proxy.system.mapped_files import map_descriptor

_NUMBER = struct.Struct("<Q")
_SLOT = struct.Struct("<8sII")
_SLOTS = 1024
_MOMENTS = 2**32
_SIZE = _NUMBER.size + _SLOTS * _SLOT.size


class SharedFacts:
    """One worker's view of a mirror's board."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._memory = map_descriptor(self._fd, _SIZE)

    def number(self) -> int:
        """Return the number of the current generation; 0 before the first."""
        return int(_NUMBER.unpack_from(self._memory)[0])

    def announce(self, number: int) -> None:
        """Make `number` the current generation for all workers."""
        _NUMBER.pack_into(self._memory, 0, number)

    def note_reader(self, client: str, number: int, now: float) -> None:
        """Remember that a client has just read the index of a generation."""
        key, offset = _slot(client)
        _SLOT.pack_into(self._memory, offset, key, number, int(now) % _MOMENTS)

    def reader(self, client: str, now: float, within_s: float) -> int | None:
        """Return the generation whose index a client read in the last `within_s` seconds."""
        key, offset = _slot(client)
        owner, number, read_at = _SLOT.unpack_from(self._memory, offset)
        return number if owner == key and 0 <= now - read_at <= within_s else None

    def try_lock(self) -> bool:
        """Become the worker that revalidates this mirror; False when another is."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let another worker revalidate."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()
        os.close(self._fd)


@lru_cache(_SLOTS)
def _slot(client: str) -> tuple[bytes, int]:
    key = blake2b(client.encode(), digest_size=8).digest()
    return key, _NUMBER.size + int.from_bytes(key) % _SLOTS * _SLOT.size

"""What all workers must know of a mirror at once.

One small file per mirror, mapped into every worker's memory, so that reading it
costs no system call:

    8 bytes     number of the generation that was accepted last
    1024 slots  a client's hash (8 bytes), the generation whose index it read
                last (4), and when (4, Unix seconds)
    8 bytes     number of the generation that is held, 0 for none

The numbers tell workers that there is something new to be read from the records; the
records decide. A release that knows of no held generation makes the file without the last
field, and cuts it off when it opens the file: then it reads as 0, which differs from what
a worker has seen, and the worker looks at the records.

The same file's lock says who checks the mirror. Slots are written without
a lock: a torn or overwritten one merely makes its client read the served list.
"""

import fcntl
import os
import struct
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from proxy.system.mapped_files import map_descriptor

_NUMBER = struct.Struct("<Q")
_SLOT = struct.Struct("<8sII")
_SLOTS = 1024
_UNSIGNED = 2**32
_NUMBERS = 2**48
"""No generation has a number as high as this: what reads so was never written by a worker."""
_HELD_AT = _NUMBER.size + _SLOTS * _SLOT.size
_SIZE = _HELD_AT + _NUMBER.size


class Announced(NamedTuple):
    """The numbers of generations that all workers were told."""

    accepted: int
    """0 before the first."""
    held: int
    """Of the generation that is served whatever is accepted; 0 while none is held."""


class SharedFacts:
    """One worker's view of what all know of a mirror."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        self._memory = map_descriptor(self._fd, _SIZE)

    def announced(self) -> Announced:
        """Return which generations were accepted last, and held."""
        return Announced(self._number_at(0), self._number_at(_HELD_AT))

    def announces(self, generations: Announced) -> bool:
        """Whether these were announced last: asked for each reply that is ready, so in fewer steps."""
        read = _NUMBER.unpack_from
        is_accepted = read(self._memory, 0)[0] == generations.accepted
        is_held = read(self._memory, _HELD_AT)[0] == generations.held
        return (is_accepted and is_held) or self.announced() == generations

    def announce_accepted(self, number: int) -> None:
        """Tell all workers that a generation was accepted, and recorded."""
        _NUMBER.pack_into(self._memory, 0, number)

    def announce_held(self, number: int) -> None:
        """Tell all workers that a generation is held, and recorded; 0 that none is."""
        _NUMBER.pack_into(self._memory, _HELD_AT, number)

    def note_reader(self, client: str, number: int, now: float) -> None:
        """Note that a client has just read the index of a generation."""
        key, offset = _slot(client)
        _SLOT.pack_into(self._memory, offset, key, number % _UNSIGNED, int(now) % _UNSIGNED)

    def reader(self, client: str, now: float, within_s: float) -> int | None:
        """Return the generation whose index a client read in the last `within_s` seconds."""
        key, offset = _slot(client)
        owner, number, read_at = _SLOT.unpack_from(self._memory, offset)
        return number if owner == key and 0 <= now - read_at <= within_s else None

    def try_lock(self) -> bool:
        """Become the worker that checks this mirror; False when another is."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self) -> None:
        """Let another worker check."""
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        self._memory.close()
        os.close(self._fd)

    def _number_at(self, offset: int) -> int:
        number = int(_NUMBER.unpack_from(self._memory, offset)[0])
        return number if number < _NUMBERS else 0


class Announcements:
    """What workers tell each other of generations, and how much of that this one has loaded."""

    def __init__(self, shared: SharedFacts) -> None:
        self._shared = shared
        self.loaded = Announced(-1, 0)
        """What was announced when this worker loaded what it serves."""

    def made(self) -> Announced:
        """Return what was announced last."""
        return self._shared.announced()

    def are_loaded(self) -> bool:
        """Whether nothing was announced since this worker loaded what it serves."""
        return self._shared.announces(self.loaded)

    def announce_accepted(self, number: int) -> None:
        """Tell all workers of a generation that is recorded as accepted, and loaded here."""
        self._shared.announce_accepted(number)
        self.loaded = self.loaded._replace(accepted=number)

    def announce_held(self, number: int) -> None:
        """Tell all workers of a generation that is recorded as held, and loaded here; 0 for none."""
        self._shared.announce_held(number)
        self.loaded = self.loaded._replace(held=number)

    def make_up(self, announced: Announced, recorded: Announced) -> Announced:
        """Announce what is recorded and was not announced, and return what is.

        The file is new then, or a worker died between recording and announcing.
        """
        if announced.accepted < recorded.accepted:
            self._shared.announce_accepted(recorded.accepted)
        if announced.held != recorded.held:
            self._shared.announce_held(recorded.held)
        return Announced(max(announced.accepted, recorded.accepted), recorded.held)


@lru_cache(_SLOTS)
def _slot(client: str) -> tuple[bytes, int]:
    key = blake2b(client.encode(), digest_size=8).digest()
    return key, _NUMBER.size + int.from_bytes(key) % _SLOTS * _SLOT.size

"""Where files came from, and who asked for them: a bounded table in a file that outlives its process.

stats/<n>/files.1    8192 rows, written by the process that holds stats/<n>/lock

A row tells that a file came from one origin, or was asked for by one client address. When all
rows are taken, the one that was written longest ago is given up. A row begins with a number that
is odd while it is written, so that readers in other processes need no lock. A release that
changes the form of the rows takes another name for the file.
"""

import contextlib
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

from proxy.system.mapped_files import map_file

_FILE = "files.1"
_ROWS = 8192
_ROW = struct.Struct("=Q32sc127s2dQ")
"""Turn, SHA-256, role, name, when first and last, how often."""
_TURN = struct.Struct("=Q")
_LONGEST_NAME = 127
_LARGEST_WORD = (1 << 64) - 1
_LARGEST_COUNT = 1 << 62
_FROM, _BY = b"f", b"b"

_Key = tuple[bytes, bytes, bytes]
"""SHA-256, role and name."""


@dataclass(slots=True)
class FileStory:
    """What is known of a file. Moments in Unix seconds."""

    origins: dict[str, float] = field(default_factory=dict)
    """Names of those that sent it, and when it came from each last."""
    clients: dict[str, float] = field(default_factory=dict)
    """Addresses that asked for it, and when each did last."""
    requests: int = 0


class FileTable:
    """What this process sees of files. For the thread of the event loop alone."""

    def __init__(self, slot: Path, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._memory = map_file(slot / _FILE, _ROWS * _ROW.size)
        numbered = enumerate(_ROW.iter_unpack(self._memory[:]))
        rows = [(place, row) for place, row in numbered if _says_something(*row[2:])]
        rows.sort(key=lambda one: one[1][5])
        self._places: OrderedDict[_Key, int] = OrderedDict(
            ((row[1], row[2], row[3].rstrip(b"\0")), place) for place, row in rows
        )
        """Written longest ago first."""
        self._free = sorted(set(range(_ROWS)) - set(self._places.values()), reverse=True)

    def came(self, digest: str, origins: Iterable[str]) -> None:
        """Note which origins sent a file."""
        for origin in origins:
            self._note(digest, _FROM, origin)

    def asked(self, digest: str, client: str, times: int = 1) -> None:
        """Note that a client asked for a file."""
        self._note(digest, _BY, client, times)

    def _note(self, digest: str, role: bytes, name: str, times: int = 1) -> None:
        now = self._clock()
        raw = name.encode(errors="replace")[:_LONGEST_NAME].decode(errors="ignore").encode()
        key = (bytes.fromhex(digest), role, raw)
        place, memory = self._places.get(key), self._memory
        if place is not None:
            self._places.move_to_end(key)
            turn, _, _, _, first, _, count = _ROW.unpack_from(memory, place * _ROW.size)
        else:
            place = self._free.pop() if self._free else self._places.popitem(last=False)[1]
            self._places[key] = place
            turn, first, count = _TURN.unpack_from(memory, place * _ROW.size)[0], now, 0
        _TURN.pack_into(memory, place * _ROW.size, turn | 1)
        _ROW.pack_into(memory, place * _ROW.size, turn | 1, *key, first, now, count + times)
        _TURN.pack_into(memory, place * _ROW.size, ((turn | 1) + 1) & _LARGEST_WORD)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()


class FileTableWithoutClients(FileTable):
    """The same for those who do not want it known who asked; what was noted of that before goes."""

    def __init__(self, slot: Path, clock: Callable[[], float]) -> None:
        super().__init__(slot, clock)
        for key in [key for key in self._places if key[1] == _BY]:
            place = self._places.pop(key)
            self._memory[place * _ROW.size : (place + 1) * _ROW.size] = bytes(_ROW.size)
            self._free.append(place)

    def asked(self, digest: str, client: str, times: int = 1) -> None:
        """Note nothing."""


def read_stories(directory: Path, digests: Collection[str]) -> dict[str, FileStory]:
    """Return what all processes have seen of these files, by digest. Blocks."""
    wanted = {bytes.fromhex(digest): digest for digest in digests}
    found: dict[str, FileStory] = {}
    for file in directory.glob(f"*/{_FILE}"):
        for raw, role, name, last, count in _rows(file):
            if raw not in wanted:
                continue
            story = found.setdefault(wanted[raw], FileStory())
            names = story.origins if role == _FROM else story.clients
            text = name.rstrip(b"\0").decode(errors="replace")
            names[text] = max(last, names.get(text, last))
            story.requests += count if role == _BY else 0
    return found


def _rows(file: Path) -> Iterator[tuple[bytes, bytes, bytes, float, int]]:
    with contextlib.suppress(OSError):
        data = file.read_bytes()
        whole = memoryview(data)[: len(data) // _ROW.size * _ROW.size]
        for turn, raw, role, name, first, last, count in _ROW.iter_unpack(whole):
            if not turn & 1 and _says_something(role, name, first, last, count):
                yield raw, role, name, last, count


def _says_something(role: bytes, _: bytes, first: float, last: float, count: int) -> bool:
    """Whether a row is somebody's, and not damaged."""
    return role in {_FROM, _BY} and isfinite(first) and isfinite(last) and count <= _LARGEST_COUNT

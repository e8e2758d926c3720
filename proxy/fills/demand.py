"""Which items clients are waiting for right now, known to all processes on a data directory.

Prefetching gives way to them. One small file, mapped into every process's memory:

    8 bytes    when any client last waited for upstream (system-wide monotonic seconds)
    512 slots  a digest's first bytes (8), and when a client last waited for it (8)

It is written without locks: when a note is lost, a background transfer runs on, and that is all.
"""

import math
import struct
from pathlib import Path

from proxy.digest import Digest
from proxy.system.mapped_files import map_file

_MOMENT = struct.Struct("<d")
_SLOT = struct.Struct("<8sd")
_SLOTS = 512
_SIZE = _MOMENT.size + _SLOTS * _SLOT.size

_LASTS_S = 1.0
"""A note counts for this long; the process whose client waits renews it."""


class Demand:
    """One process's view of the demand; times are `time.monotonic()` seconds."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._memory = map_file(path, _SIZE)

    def note(self, digest: Digest, now: float) -> None:
        """Note that a client waits for a digest."""
        key, offset = _slot(digest)
        _SLOT.pack_into(self._memory, offset, key, now)
        _MOMENT.pack_into(self._memory, 0, now)

    def must_yield(self, digest: Digest, now: float) -> bool:
        """Whether clients wait for something, and not for this digest."""
        (last,) = _MOMENT.unpack_from(self._memory)
        return 0 <= now - last < _LASTS_S and not self.is_wanted(digest, now)

    def is_wanted(self, digest: Digest, now: float) -> bool:
        """Whether clients wait for a digest, in whichever process."""
        return self.is_wanted_since(digest, -math.inf, now)

    def is_wanted_since(self, digest: Digest, moment: float, now: float) -> bool:
        """Whether clients wait for a digest, one of whom has told so after a moment."""
        key, offset = _slot(digest)
        owner, wanted_at = _SLOT.unpack_from(self._memory, offset)
        return bool(owner == key and wanted_at > moment and 0 <= now - wanted_at < _LASTS_S)

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()


def _slot(digest: Digest) -> tuple[bytes, int]:
    key = bytes.fromhex(digest[:16])
    return key, _MOMENT.size + int.from_bytes(key) % _SLOTS * _SLOT.size

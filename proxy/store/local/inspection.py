"""Hashing a blob again without hurry."""

import hashlib
import os
from pathlib import Path

from proxy.digest import Digest

_READ_BYTES = 1024 * 1024


class LocalInspection:
    """A blob's file, open without a lock: it may be removed while it is hashed."""

    def __init__(self, path: Path, digest: Digest) -> None:
        """Open the file. Raises OSError."""
        self._path = path
        self._digest = digest
        self._hasher = hashlib.sha256()
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def step(self) -> int:
        """Hash the next piece; return how long it was, 0 at the end. Raises OSError."""
        data = os.read(self._fd, _READ_BYTES)
        self._hasher.update(data)
        if not data:
            # What nobody reads must not push out of memory what clients read.
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        return len(data)

    def is_damaged(self) -> bool:
        """Whether the bytes do not match, and are still the blob's: no good one took its place."""
        return self._hasher.hexdigest() != self._digest and self._is_still()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _is_still(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), self._path.stat())
        except OSError:
            return False

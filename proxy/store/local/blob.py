"""A blob that is open for reading."""

import contextlib
import fcntl
import os
from types import TracebackType
from typing import Self

from proxy.store.local.partial import LocalPartial


class LocalBlob:
    """An open blob. `fd` is valid until `close`."""

    __slots__ = ("fd", "size_bytes")

    def __init__(self, fd: int, size_bytes: int) -> None:
        self.fd = fd
        self.size_bytes = size_bytes
        # Its writer may hold the lock for a moment longer; then nobody can remove it either.
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def __repr__(self) -> str:
        return f"<LocalBlob of {self.size_bytes} bytes, {f'open as {self.fd}' if self.fd >= 0 else 'closed'}>"

    def as_partial(self) -> LocalPartial:
        """Return it as a partial file that is complete; this one is closed."""
        fd, self.fd = self.fd, -1
        return LocalPartial(fd)

    def close(self) -> None:
        """Let go of the file and its lock."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""The file by which the processes on a data directory share one limit.

It is read and written whole at each turn, some sixty times a second at most, under a lock that ends
with its holder. Whatever is wrong with the file, nothing waits for it: without it a process keeps to
a share of its own, says so once, and looks again after a while. The file is not mapped: one that
somebody cuts short would kill the process.
"""

import contextlib
import fcntl
import logging
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from proxy.sources.limits.priority import Priority
from proxy.sources.limits.state import SIZE_BYTES, Asker, State, Taken

log = logging.getLogger(__name__)

_LOCK_TRIES = 100
"""The holder needs microseconds. One that was stopped meanwhile is not waited for: at worst a chunk goes
uncounted."""
_CHECKED_EVERY_S = 1.0
"""So often a process looks whether the file was replaced."""
_TRIED_AGAIN_AFTER_S = 10.0


class SharedLimit:
    """One process's hold on a limit. `clock` gives the monotonic seconds that all processes share.

    `share_bytes_s` is what it keeps to by itself when the file cannot be used.
    """

    def __init__(
        self, path: Path, rate_bytes_s: float, share_bytes_s: float, clock: Callable[[], float]
    ) -> None:
        self.rate_bytes_s = rate_bytes_s
        self._path = path
        self._clock = clock
        self._asker = Asker(secrets.randbits(63) | 1, rate_bytes_s)
        self._alone = self._asker._replace(rate_bytes_s=share_bytes_s)
        self._own = State(filled_at=clock())
        self._fd = -1
        self._look_at = 0.0
        """When to look at the file's name again."""
        self._is_told = False

    def open(self) -> None:
        """Open the file now rather than when it is first needed. Blocks."""
        self._look(self._clock())

    def take(self, priority: Priority, waiting: int) -> Taken:
        """Take bytes now, for a process so many of whose transfers wait; none until it may."""
        now = self._clock()
        if now >= self._look_at:
            self._look(now)
        if self._fd >= 0:
            try:
                return self._take_shared(priority, waiting, now)
            except OSError as error:
                self._give_up(error, now)
        return self._own.take(self._alone, priority, waiting, now)

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_shared(self, priority: Priority, waiting: int, now: float) -> Taken:
        with self._locked():
            state = State.parsed(os.pread(self._fd, SIZE_BYTES, 0), now)
            taken = state.take(self._asker, priority, waiting, now)
            os.pwrite(self._fd, state.packed(), 0)
        return taken

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        is_locked = any(self._lock() for _ in range(_LOCK_TRIES))
        try:
            yield
        finally:
            if is_locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False

    def _look(self, now: float) -> None:
        """Open what the name means now, unless it is open."""
        self._look_at = now + _CHECKED_EVERY_S
        try:
            if self._fd >= 0 and self._is_same():
                return
            self.close()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            # A disk that fills up must not take it away.
            os.posix_fallocate(self._fd, 0, SIZE_BYTES)
        except OSError as error:
            self._give_up(error, now)

    def _is_same(self) -> bool:
        try:
            named, held = os.stat(self._path), os.fstat(self._fd)  # noqa: PTH116 - one call, in the event loop
        except FileNotFoundError:
            return False
        return (named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)

    def _give_up(self, error: OSError, now: float) -> None:
        """Go on without the file for a while."""
        self.close()
        self._look_at = now + _TRIED_AGAIN_AFTER_S
        self._own = State(filled_at=now)
        if not self._is_told:
            self._is_told = True
            log.warning(
                "limit.not_shared path=%s problem=%s bytes_s=%d",
                self._path,
                error.strerror,
                self._alone.rate_bytes_s,
            )

"""How fast a piece of work goes and how long it still takes, from what has moved and when.

The rate is that of the last seconds. A moment at which nobody looked, because the process was
stopped or the machine slept, counts neither for the rate nor for the time that it took. Pure.
"""

from collections import deque
from dataclasses import dataclass

_SETTLED_S = 3.0
"""Before this much was watched, a rate says nothing."""
_STALLED_S = 5.0
"""Without a byte for this long, the work waits for something."""
_UNWATCHED_S = 10.0
"""Between two looks; whoever looks does so each second or more often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """How far the work is at one moment."""

    files: int
    ended_files: int
    """Those that are there, and those that failed."""
    failed_files: int
    size_bytes: int
    """Of all that is to be moved."""
    moved_bytes: int
    rate: float | None
    """Bytes a second; None while it is unknown."""
    left_s: float | None
    """How long it still takes at that rate; None while that is unknown."""
    waiting_s: float
    """For how long no byte has come, if that is remarkable, else zero."""
    watched_s: float
    """How long it has taken."""
    path: str
    """Of the file that moved last."""

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        if self.size_bytes:
            return min(1.0, max(0.0, self.moved_bytes / self.size_bytes))
        return 1.0 if self.ended_files >= self.files else 0.0


class Reckoning:
    """What is known of the work so far. All moments are monotonic seconds."""

    def __init__(self, window_s: float, now: float) -> None:
        """Begin to watch; rates are those of the last `window_s`."""
        self._window_s = window_s
        self._looks = deque([(now, 0)])
        """Recent moments, and what had arrived until then."""
        self._began_at = now
        self._unwatched_s = 0.0
        self._arrived_bytes = 0
        """All that arrived, also what was discarded again."""
        self._arrived_at = now
        self._files = 0
        self._size_bytes = 0
        self._moved_bytes = 0
        self._ended_files = 0
        self._failed_files = 0
        self._path = ""

    def begun(self, files: int, size_bytes: int) -> None:
        """Add to what is to be moved."""
        self._files += files
        self._size_bytes += size_bytes

    def moved(self, path: str, count: int) -> None:
        """Add to what has moved."""
        self._moved_bytes += count
        self._arrived_bytes += max(0, count)
        self._path = path

    def ended(self, *, has_failed: bool, missing_bytes: int) -> None:
        """Count a file that is there, or that has failed."""
        self._ended_files += 1
        self._failed_files += has_failed
        self._size_bytes -= missing_bytes

    def look(self, now: float) -> Figures:
        """Return how far it is. To be called each second or more often."""
        last_look, known_bytes = self._looks[-1]
        if now - last_look > _UNWATCHED_S:
            self._unwatched_s += now - last_look
            self._looks.clear()
            self._arrived_at = now
        elif self._arrived_bytes != known_bytes:
            self._arrived_at = now
        self._looks.append((now, self._arrived_bytes))
        while now - self._looks[0][0] > self._window_s:
            self._looks.popleft()
        still_s, left_bytes = now - self._arrived_at, self._size_bytes - self._moved_bytes
        is_waiting = still_s >= _STALLED_S and left_bytes > 0
        rate = 0.0 if is_waiting else self._rate(now)
        return Figures(
            files=self._files,
            ended_files=self._ended_files,
            failed_files=self._failed_files,
            size_bytes=self._size_bytes,
            moved_bytes=self._moved_bytes,
            rate=rate,
            left_s=max(0, left_bytes) / rate if rate else None,
            waiting_s=still_s if is_waiting else 0.0,
            watched_s=now - self._began_at - self._unwatched_s,
            path=self._path,
        )

    def _rate(self, now: float) -> float | None:
        since, bytes_then = self._looks[0]
        if now - since < _SETTLED_S:
            return None
        return (self._arrived_bytes - bytes_then) / (now - since)

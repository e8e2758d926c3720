"""What clients ask for that is not in the lockfile which is served: counted, and told of in the log.

A line as soon as somebody asks for something new, and then no more often than every so many
seconds, however many paths clients make up.
"""

import asyncio
import logging

from proxy.counting.subjects import LimitTally

log = logging.getLogger(__name__)

_TOLD_EVERY_S = 10.0
_MOST_NAMED = 10
"""Paths in one line."""
_MOST_KNOWN = 1000
_LONGEST_PATH = 200


class BeyondLock:
    """What one process is asked for in vain. For the thread of the event loop."""

    def __init__(self, limits: LimitTally, told_every_s: float = _TOLD_EVERY_S) -> None:
        self._limits = limits
        self._told_every_s = told_every_s
        self._known: set[str] = set()
        """What the log names, or is about to."""
        self._untold: list[str] = []
        self._timer: asyncio.TimerHandle | None = None

    def met(self, mirror: str, path: str) -> None:
        """Count a request for something that is not in the lockfile, and tell of it, once."""
        self._limits.met("lockfile")
        named = f"{mirror}/{path[:_LONGEST_PATH]}"
        if named in self._known or len(self._known) >= _MOST_KNOWN:
            return
        self._known.add(named)
        self._untold.append(named)
        if self._timer is None:
            self._tell()

    def close(self) -> None:
        """Tell of the rest."""
        self._tell()
        if self._timer is not None:
            self._timer.cancel()

    def _tell(self) -> None:
        self._timer = None
        if not self._untold:
            return
        named, more = self._untold[:_MOST_NAMED], len(self._untold[_MOST_NAMED:])
        log.warning("lockfile.lacks paths=%s more=%d", " ".join(named), more)
        self._untold.clear()
        self._timer = asyncio.get_running_loop().call_later(self._told_every_s, self._tell)

"""What tells a process from a later one of the same id, for records of who does something.

Where that cannot be told, because no descriptor is left to look with or there is no /proc, whoever
has the id now is taken to be the process: room that it needs must not go to others.
"""

import functools
import os
from pathlib import Path

from proxy.store.schema import Count, Row

_STARTED_FIELD = 19
"""Of /proc/PID/stat, counted from the state after the name."""


class Process(Row, frozen=True):
    """One process of this machine."""

    pid: Count
    started_ticks: Count
    """Since the machine's start; 0 where that could not be told."""

    @classmethod
    def own(cls) -> "Process":
        """Return the process that asks."""
        pid = os.getpid()
        try:
            return cls(pid, _own_started_ticks(pid))
        except OSError:
            return cls(pid, 0)

    @property
    def is_alive(self) -> bool:
        """Whether it has not ended."""
        if self.started_ticks:
            try:
                return self.started_ticks == _started_ticks(self.pid)
            except OSError:
                pass
        return _is_there(self.pid)


@functools.lru_cache(1)
def _own_started_ticks(pid: int) -> int:
    """Return when this process started, whose id is given: it has another one after a fork."""
    return _started_ticks(pid)


def _started_ticks(pid: int) -> int:
    """Return when a process started. Raises OSError where that cannot be told."""
    # The name of a process may be any bytes.
    stat = Path(f"/proc/{pid}/stat").read_bytes()
    return int(stat.rpartition(b")")[2].split()[_STARTED_FIELD])


def _is_there(pid: int) -> bool:
    """Whether there is a process of this id; needs no descriptor."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return pid > 0  # 0 would be all of a group.

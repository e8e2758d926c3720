"""What processes do with a limit that they share; a process that is started for it reads nothing else."""

import fcntl
import os
import time
from multiprocessing.queues import Queue
from pathlib import Path

from proxy.sources.limits.priority import Priority
from proxy.sources.limits.shared import SharedLimit

RATE = 2_000_000


def take_for(path: Path, seconds: float, results: "Queue[int]") -> None:
    """Take what can be taken for so long; put how much that was."""
    limit = SharedLimit(path, RATE, RATE / 4, time.monotonic)
    total, ends_at = 0, time.monotonic() + seconds
    while time.monotonic() < ends_at:
        taken = limit.take(Priority.CLIENT, 1)
        total += taken.size_bytes
        if not taken.size_bytes:
            time.sleep(taken.wait_s)
    results.put(total)


def hold(path: Path, held: "Queue[int]") -> None:
    """Hold the lock until killed; put who does."""
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    held.put(os.getpid())
    time.sleep(600)

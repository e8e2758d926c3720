"""Letting clients have their first byte before others have more of theirs.

Threads that hash and write what arrives, from an origin or a medium, or prove again what is here, keep every
CPU busy, and give it up to others late, however nice they are. So where much arrives at once, they rest while
a client waits for a first byte, in whichever process. A small file that all processes map says so:

    64 slots   until when threads rest (system-wide monotonic seconds), a slot for each process that says so

It is written without locks: where two processes have the same slot, a first byte may come
some milliseconds later.
"""

import contextlib
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

from proxy.system.mapped_files import map_file

_SLOTS = 64
_MOMENT = struct.Struct("<d")
_ALL = struct.Struct(f"<{_SLOTS}d")
_LONGEST_S = 0.05
"""What takes longer than this waits for an origin or a disk, which no rest makes faster."""
_WORK_BYTES = 512 * 1024
_REST_S = 0.004
"""After so much work: an origin of the local network still gets some hundred megabytes a second through."""

_Args = ParamSpec("_Args")


class FirstBytes:
    """One process's view of who waits for a first byte. `clock` gives monotonic seconds."""

    def __init__(
        self,
        path: Path,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._memory = map_file(path, _ALL.size)
        self._offset = os.getpid() % _SLOTS * _MOMENT.size
        self._clock = clock
        self._sleep = sleep
        self._waiting = 0
        self._of_thread = threading.local()

    @contextlib.contextmanager
    def waited_for(self) -> Iterator[None]:
        """Have threads rest for the length of the context, if that is short. On the event loop."""
        self._waiting += 1
        self._write(self._clock() + _LONGEST_S)
        try:
            yield
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._write(0.0)

    def resting(self, work: Callable[_Args, int]) -> Callable[_Args, int]:
        """Return what does as `work` does, which says how many bytes it has done, and has its thread rest."""

        def work_after_rest(*args: _Args.args, **named: _Args.kwargs) -> int:
            worked_bytes = getattr(self._of_thread, "worked_bytes", 0)
            if worked_bytes >= _WORK_BYTES:
                worked_bytes = 0
                if self._are_waited_for():
                    self._sleep(_REST_S)
            count = work(*args, **named)
            self._of_thread.worked_bytes = worked_bytes + count
            return count

        return work_after_rest

    def close(self) -> None:
        """Let go of the file."""
        self._memory.close()

    def _are_waited_for(self) -> bool:
        now = self._clock()
        return any(0 < until - now <= _LONGEST_S for until in _ALL.unpack_from(self._memory))

    def _write(self, until: float) -> None:
        _MOMENT.pack_into(self._memory, self._offset, until)

"""Lines on their way out: whoever has one puts it down, and a thread writes them, many at once.

Nobody who logs waits for whoever reads the log. What is not read, or cannot be written, is
kept up to a limit; lines beyond it are dropped, counted, and told of in a line as soon as
there is room again. The file descriptor is never made non-blocking: others share it.

The thread begins with the first line. It ends before the process forks, unless it stands
in a write; of what the parent has not written yet the child knows nothing.
"""

import os
import select
import threading
import time
import weakref
from collections.abc import Callable

from proxy.logs.destination import Destination
from proxy.logs.forms import encoded

ROOM_BYTES = 1024 * 1024
ROOM_FOR_TROUBLE_BYTES = ROOM_BYTES + 128 * 1024
"""For warnings and errors, so that no flood of requests leaves them without room."""

THREAD_NAME = "log"

_GATHERED_WITHIN_S = 0.02
_TRIED_AGAIN_AFTER_S = 0.25
"""When the disk is full, or whoever read has gone."""
_WRITABLE_WITHIN_MS = 250
_FORK_PATIENCE_S = 0.2


class LineWriter:
    """Writes the lines of one process, in the order in which they were put."""

    def __init__(self, destination: Destination, told_of_dropped: Callable[[int], str]) -> None:
        self._fd = destination.fd
        self._largest_write_bytes = destination.largest_write_bytes
        self._told_of_dropped = told_of_dropped
        """Makes the line that tells of so many dropped ones."""
        self._count_dropped: Callable[[int], None] | None = None
        self._begin()
        mine = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _of(mine, LineWriter._pause),
            after_in_child=lambda: _of(mine, LineWriter._begin),
        )

    def _begin(self) -> None:
        """Begin with nothing; in the child of a fork, forget what its parent is going to write."""
        self._lock = threading.RLock()
        """A thread takes it again when the collector makes something log while it holds it."""
        self._lines: list[str] = []
        self._waiting_bytes = 0
        self._data, self._written = b"", 0
        """What the thread is writing, and how much of it is written."""
        self._untold = 0
        """Dropped lines of which no line tells yet."""
        self._uncounted = 0
        self._is_counting = False
        self._thread: threading.Thread | None = None
        self._is_awake = False
        """Whether the thread is going to look for lines by itself."""
        self._news = threading.Event()
        self._ending = threading.Event()

    def put(self, line: str, room_bytes: int = ROOM_BYTES) -> None:
        """Have a line written, with its line feed. Never waits."""
        with self._lock:
            if self._waiting_bytes + len(self._data) - self._written < room_bytes:
                if self._untold:
                    self._tell_of_dropped()
                self._lines.append(line)
                self._waiting_bytes += len(line)
            else:
                self._untold += 1
                self._uncounted += 1
                self._count()
            if not self._is_awake:
                self._wake()

    def settle(self, patience_s: float) -> bool:
        """Write what waits, and end the thread; return whether nothing is left within the patience."""
        with self._lock:
            if self._lines and not self._is_awake:
                self._wake()
            thread = self._thread
            self._ending.set()
            self._news.set()
        if thread is not None:
            thread.join(patience_s)
        self._ending.clear()
        return not self._lines and (thread is None or not thread.is_alive())

    def count_dropped_by(self, count: Callable[[int], None] | None) -> None:
        """Have dropped lines counted, earlier ones too; None when nobody counts any more."""
        with self._lock:
            self._count_dropped = count
            self._count()

    def _count(self) -> None:
        if self._count_dropped is not None and self._uncounted and not self._is_counting:
            self._is_counting = True
            uncounted, self._uncounted = self._uncounted, 0
            self._count_dropped(uncounted)
            self._is_counting = False

    def _tell_of_dropped(self) -> None:
        untold, self._untold = self._untold, 0
        self._lines.append(self._told_of_dropped(untold))

    def _wake(self) -> None:
        self._is_awake = True
        self._news.set()
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=THREAD_NAME, daemon=True)
            try:
                thread.start()
                self._thread = thread
            except RuntimeError:  # No thread can be had now: the next line tries again.
                self._is_awake = False

    def _pause(self) -> None:
        self.settle(_FORK_PATIENCE_S)

    # In the thread

    def _run(self) -> None:
        """Write lines until told to end. Whatever ends it otherwise: the next line begins another thread."""
        try:
            self._write_lines()
        finally:
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None
                    self._is_awake = False

    def _write_lines(self) -> None:
        """Write lines; look for more for as long as there are some, then wait for news."""
        while True:
            self._ending.wait(_GATHERED_WITHIN_S)
            if self._data or self._take():
                while self._data:
                    self._write_some()
            elif self._may_end():
                return
            else:
                self._news.wait()

    def _take(self) -> bool:
        """Take all lines that wait; return whether there are any."""
        with self._lock:
            if self._untold:
                self._tell_of_dropped()
            taken = tuple(self._lines)
            self._data, self._written = encoded("".join(taken)), 0
            # The collector may have made something log meanwhile.
            del self._lines[: len(taken)]
            self._waiting_bytes = sum(map(len, self._lines))
            return bool(self._data)

    def _may_end(self) -> bool:
        """Fall asleep if there is nothing to do; return whether to end."""
        with self._lock:
            if self._lines or self._untold:
                return False
            self._is_awake = False
            self._news.clear()
            if not self._ending.is_set():
                return False
            self._thread = None
            return True

    def _write_some(self) -> None:
        """Write whole lines, as many as stay together."""
        data, start = self._data, self._written
        stop = start + self._largest_write_bytes
        if stop < len(data):
            stop = data.rfind(b"\n", start, stop) + 1 or stop
        try:
            written = start + os.write(self._fd, memoryview(data)[start:stop])
        except BlockingIOError:  # Somebody who shares it wanted it so.
            self._wait_until_writable()
        except OSError:
            time.sleep(_TRIED_AGAIN_AFTER_S)
        else:
            if written < len(data):
                self._written = written
            else:
                self._data, self._written = b"", 0

    def _wait_until_writable(self) -> None:
        waiting = select.poll()
        waiting.register(self._fd, select.POLLOUT)
        waiting.poll(_WRITABLE_WITHIN_MS)


def _of(reference: weakref.ref[LineWriter], do: Callable[[LineWriter], None]) -> None:
    """Do something with a writer that still exists."""
    writer = reference()
    if writer is not None:
        do(writer)

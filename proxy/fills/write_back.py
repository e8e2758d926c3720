"""Having the disk take a partial file while more of it arrives, so that its commit has little to wait for.

Goes on beside the fill, which never waits for it: a slow disk has one part of each file to
take at a time, and the rest is left to the commit.
"""

from concurrent.futures import Future

from proxy.store.protocols import Incoming
from proxy.system.threads import Threads

_PART_BYTES = 4 * 1024 * 1024


class WriteBack:
    """How much of one partial file the disk has been told to take."""

    def __init__(self, incoming: Incoming, threads: Threads) -> None:
        self._incoming = incoming
        self._threads = threads
        self._begun_bytes = incoming.length_bytes
        self._running: Future[None] | None = None

    @property
    def is_running(self) -> bool:
        """Whether the disk still has a part to take."""
        return self._running is not None and not self._running.done()

    def note(self, length_bytes: int) -> None:
        """Take note of how many bytes the file has; have a part of it taken when there is a whole one."""
        if not self.is_running and length_bytes - self._begun_bytes >= _PART_BYTES:
            begin = self._incoming.begin_write_back
            self._running = self._threads.begin_sync(begin, self._begun_bytes, length_bytes)
            self._begun_bytes = length_bytes

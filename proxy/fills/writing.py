"""Writing a partial file while more of it arrives.

A thread hashes and writes. Bytes that arrive meanwhile are kept in memory and handed
to the thread together when it is free, so the network and the disk work side by side,
and a fast origin costs few changes of thread. Bytes that the thread can read from the
origin itself do not pass through the event loop at all.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from proxy.store.protocols import Incoming
from proxy.system.threads import Threads, ended

_MOST_WAITING_BYTES = 1024 * 1024


class Writing:
    """The bytes of one blob on their way to its partial file.

    Use with `async with`, which waits for the thread in the end, however it ends:
    until then the file must stay open.
    """

    def __init__(self, incoming: Incoming, threads: Threads, on_written: Callable[[int], None]) -> None:
        self._incoming = incoming
        self._threads = threads
        self._on_written = on_written
        """Told how many bytes the file has."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._running: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        if self._running is not None:
            await ended(self._running)

    async def draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> int:
        """Write what a thread can receive now, up to `most_bytes`; return how much that was.

        Raises what writing this, or what was added before, raised.
        """
        await self.finish()
        before_bytes = self._incoming.length_bytes
        # No task for it: each would be one more turn of the event loop before more can be received.
        self._running = self._threads.draw(self._incoming.draw, receive, most_bytes)
        await ended(self._running)
        self._running.result()
        self._on_written(self._incoming.length_bytes)
        return self._incoming.length_bytes - before_bytes

    async def add(self, chunk: bytes) -> None:
        """Take the next bytes; return when few are waiting. Raises what writing earlier ones raised."""
        if self._running is not None and self._running.done():
            self._running.result()
            self._running = None
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._running is None:
            self._running = asyncio.create_task(self._write(), name="write")
        if self._waiting_bytes >= _MOST_WAITING_BYTES:
            await self.finish()

    async def finish(self) -> None:
        """Return when all is written. Raises SizeMismatch, or OSError when the disk fails."""
        if self._running is not None:
            await asyncio.shield(self._running)

    async def _write(self) -> None:
        while self._waiting:
            chunks, self._waiting, self._waiting_bytes = self._waiting, [], 0
            await self._threads.disk(self._incoming.append, *chunks)
            self._on_written(self._incoming.length_bytes)

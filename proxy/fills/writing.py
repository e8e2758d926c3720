"""Writing a partial file while more of it arrives.

A thread hashes and writes. Bytes that arrive meanwhile are kept in memory and handed
to the thread together when it is free, so the network and the disk work side by side,
and a fast origin costs few changes of thread. Bytes that the thread can read from the
origin itself do not pass through the event loop at all.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Self

from proxy.store.protocols import Incoming
from proxy.system.threads import Threads, when_done

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
        """Told how many bytes the file has, as soon as the event loop hears of it."""
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._running: Future[None] | None = None
        self._finishing: asyncio.Future[None] | None = None
        """Who waits until nothing runs."""
        self._error: Exception | None = None
        """What writing raised. Nothing is written after that."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting.clear()
        await self._ended()

    async def draw(self, receive: Callable[[memoryview], int], most_bytes: int) -> int:
        """Write what a thread can receive now, up to `most_bytes`; return how much that was.

        Raises what writing this, or what was added before, raised.
        """
        await self.finish()
        before_bytes = self._incoming.length_bytes
        self._run(self._threads.begin_draw(self._incoming.draw, receive, most_bytes))
        await self._ended()
        self._check()
        return self._incoming.length_bytes - before_bytes

    async def add(self, chunk: bytes) -> None:
        """Take the next bytes; return when few are waiting. Raises what writing earlier ones raised."""
        self._check()
        self._waiting.append(chunk)
        self._waiting_bytes += len(chunk)
        if self._running is None:
            self._append()
        if self._waiting_bytes >= _MOST_WAITING_BYTES:
            await self.finish()

    async def finish(self) -> None:
        """Return when all is written. Raises SizeMismatch, or OSError when the disk fails."""
        while self._running is not None:
            self._finishing = asyncio.get_running_loop().create_future()
            await self._finishing
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    async def _ended(self) -> None:
        """Return when nothing runs, however often whoever waits is cancelled; then that takes effect."""
        cancelled = None
        while self._running is not None:
            self._finishing = asyncio.get_running_loop().create_future()
            try:
                await self._finishing
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    def _append(self) -> None:
        chunks, self._waiting, self._waiting_bytes = self._waiting, [], 0
        self._run(self._threads.begin_disk(self._incoming.append, *chunks))

    def _run(self, work: Future[None]) -> None:
        # No task for it: each would be one or two turns of the event loop before clients hear of it.
        self._running = work
        when_done(work, self._go_on)

    def _go_on(self) -> None:
        """Tell what the thread has written, and give it what has come meanwhile."""
        work, self._running = self._running, None
        assert work is not None  # noqa: S101 - one at a time
        try:
            work.result()
            self._on_written(self._incoming.length_bytes)
            if self._waiting:
                self._append()
        except Exception as error:  # noqa: BLE001 - raised where bytes are added or waited for
            self._error = error
        if not self._is_running and self._finishing is not None and not self._finishing.done():
            self._finishing.set_result(None)

    @property
    def _is_running(self) -> bool:
        return self._running is not None

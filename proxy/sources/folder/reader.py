"""Threads that read one folder, and nothing else.

A file server that is silent, or a disk that tries again and again, holds a thread for as
long as it likes. So the threads are the folder's own, a few, and nobody waits for them at
the end of the process; what else the process does, on disks or in other folders, goes on.
"""

import asyncio
import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from proxy.sources.awake_timeout import AwakeTimeout

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

_MOST_THREADS = 8


class Reader:
    """The threads of one folder. They begin when they are needed, and stay until `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._changed = threading.Condition()
        """Guards the rest; notified of each call, and of the end."""
        self._waiting: OrderedDict[asyncio.Future[Any], Callable[[], None]] = OrderedDict()
        """Calls without a thread yet, the earliest first."""
        self._begun_at: dict[asyncio.Future[Any], float] = {}
        """Since when, in monotonic seconds, each call has had a thread."""
        self._ended_at = time.monotonic()
        """When the latest call ended."""
        self._threads = 0
        self._idle = 0
        self._is_closed = False

    @property
    def is_crowded(self) -> bool:
        """Whether calls are waiting for a thread."""
        return bool(self._waiting)

    async def call(self, silence_s: float, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Call a function in a thread; return its result.

        Raises TimeoutError when it takes longer than `silence_s` once it has a thread, or when it has
        none and no other call has ended for so long: a slow disk that many read from is not silent.
        """
        outcome = self.begin(function, *args)
        until = time.monotonic() + silence_s
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with AwakeTimeout(max(0.0, until - time.monotonic())):
                        await asyncio.wait([outcome])
                if outcome.done():
                    return outcome.result()
                later = self._begun_at.get(outcome, self._ended_at) + silence_s
                if later <= until:
                    raise TimeoutError
                until = later
        finally:
            outcome.cancel()

    def begin(self, function: Callable[[*_Args], _Result], *args: *_Args) -> asyncio.Future[_Result]:
        """Call a function in a thread; return its outcome.

        Once it has begun it runs to its end, even if the outcome is cancelled; before that it is dropped,
        or calls that nobody waits for would pile up while a disk is silent.
        """
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[_Result] = loop.create_future()

        def settle(how: Callable[[Any], None], what: object) -> None:
            if not outcome.done():
                how(what)

        def tell(how: Callable[[Any], None], what: object) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, how, what)

        def work() -> None:
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - it is for the caller
                tell(outcome.set_exception, error)
            else:
                tell(outcome.set_result, result)

        outcome.add_done_callback(self._drop)
        self._submit(outcome, work)
        return outcome

    def close(self) -> None:
        """Let each thread end after what was begun or is waiting; nobody waits for that."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def _drop(self, outcome: asyncio.Future[Any]) -> None:
        with self._changed:
            self._waiting.pop(outcome, None)

    def _submit(self, outcome: asyncio.Future[Any], work: Callable[[], None]) -> None:
        with self._changed:
            self._waiting[outcome] = work
            if len(self._waiting) > self._idle and self._threads < _MOST_THREADS:
                self._threads += 1
                self._idle += 1
                threading.Thread(target=self._serve, name=f"folder {self._name:.40}", daemon=True).start()
            self._changed.notify()

    def _serve(self) -> None:
        while (call := self._next()) is not None:
            outcome, work = call
            work()
            with self._changed:
                del self._begun_at[outcome]
                self._ended_at = time.monotonic()
                self._idle += 1
            del call, outcome, work  # What was read is not kept until the next call.

    def _next(self) -> tuple[asyncio.Future[Any], Callable[[], None]] | None:
        """Wait for a call; return None when there will be none any more."""
        with self._changed:
            while not self._waiting:
                if self._is_closed:
                    return None
                self._changed.wait()
            self._idle -= 1
            call = self._waiting.popitem(last=False)
            self._begun_at[call[0]] = time.monotonic()
            return call


class Readers:
    """The readers of all folders of one process, one for each folder."""

    def __init__(self) -> None:
        self._readers: dict[Path, Reader] = {}

    def of(self, folder: Path) -> Reader:
        """Return the reader of a folder."""
        if folder not in self._readers:
            self._readers[folder] = Reader(str(folder))
        return self._readers[folder]

    def close(self) -> None:
        """Let all threads end; nobody waits for them."""
        for reader in self._readers.values():
            reader.close()

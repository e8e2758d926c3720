"""Threads that read one folder, and nothing else.

A file server that is silent, or a disk that tries again and again, holds a thread for as
long as it likes. So the threads are the folder's own, a few, and nobody waits for them at
the end of the process; what else the process does, on disks or in other folders, goes on.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar, TypeVarTuple

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

_MOST_THREADS = 8


class Reader:
    """The threads of one folder. They begin when they are needed, and stay until `close`."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._busy = 0
        """Calls that were begun or are waiting for a thread."""

    def begin(self, function: Callable[[*_Args], _Result], *args: *_Args) -> asyncio.Future[_Result]:
        """Call a function in a thread; return its outcome. It runs to its end, whoever leaves meanwhile."""
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

        self._submit(work)
        return outcome

    def close(self) -> None:
        """Let each thread end after its present work; nobody waits for that."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)

    def _submit(self, work: Callable[[], None]) -> None:
        with self._lock:
            self._busy += 1
            self._work.put(work)
            if self._busy > self._threads and self._threads < _MOST_THREADS:
                self._threads += 1
                threading.Thread(target=self._serve, name=f"folder {self._name:.40}", daemon=True).start()

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            with self._lock:
                self._busy -= 1


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

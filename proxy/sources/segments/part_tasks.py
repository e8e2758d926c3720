"""The tasks that fetch parts of one item: all end with it, and a fault of the program in one is not lost."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from proxy.system.threads import ended


class PartTasks:
    """The tasks of one item; to be closed."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._crash: BaseException | None = None

    def begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Begin a task."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    async def end(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await ended(asyncio.gather(*self._tasks, return_exceptions=True))

    def check(self) -> None:
        """Raise what no transfer should have raised, if one has."""
        if self._crash is not None:
            raise self._crash

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._crash = error

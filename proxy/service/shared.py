"""Work that is done once for all who ask for it meanwhile, and ends when the last of them has left."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

K = TypeVar("K")
T = TypeVar("T")


class Shared(Generic[K, T]):
    """The work that is under way, by what it is for."""

    def __init__(self) -> None:
        self._tasks: dict[K, asyncio.Task[T]] = {}
        self._waiting: Counter[K] = Counter()

    async def get(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what `work` returns, or the same work that somebody began before. Raises what it raises."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(work(), name=f"shared {key}")
        self._waiting[key] += 1
        try:
            return await asyncio.shield(task)
        finally:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                # It has ended, or nobody wants it any more; who comes now begins anew.
                del self._waiting[key], self._tasks[key]
                task.cancel()

"""Commits of blobs: the disk makes some durable while the next ones are read."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

COMMITS_AT_ONCE = 8


class CommitsInFlight:
    """The commits of one import that have begun, and of which nobody knows yet how they end.

    Several tasks may begin commits at the same time.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self, commit: Callable[[], Coroutine[Any, Any, None]], name: str) -> None:
        """Begin a commit, once few enough run. Raises what an earlier one raised, and begins none then."""
        while len(self._tasks) >= COMMITS_AT_ONCE:
            await self._end(asyncio.FIRST_COMPLETED)
        self._tasks.add(asyncio.create_task(commit(), name=name))

    async def finish(self) -> None:
        """Return once all have ended. Raises what one of them raised."""
        while self._tasks:
            await self._end(asyncio.ALL_COMPLETED)

    async def stop(self) -> None:
        """Return once all have ended, however they end."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _end(self, when: str) -> None:
        done, _ = await asyncio.wait(self._tasks, return_when=when)
        self._tasks -= done  # Others wait for commits at the same time, and begin new ones.
        problems = [problem for task in done if (problem := task.exception()) is not None]
        if problems:
            raise problems[0]

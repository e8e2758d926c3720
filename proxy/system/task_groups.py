"""Several coroutines at once, as if they were one: the first error stops the rest and is raised as itself."""

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any, NoReturn, TypeVar

T = TypeVar("T")


async def all_or_first_failure(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Return what all of them return. Raises what the first that fails raises, once the others have ended."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(coroutine) for coroutine in coroutines]
    except BaseExceptionGroup as failures:
        _raise_first(failures)
    return [task.result() for task in tasks]


def _raise_first(failures: BaseExceptionGroup[BaseException]) -> NoReturn:
    first: BaseException = failures
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    raise first from failures

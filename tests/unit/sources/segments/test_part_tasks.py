"""The tasks that fetch parts of an item."""

import asyncio

import pytest

from proxy.sources.segments.part_tasks import PartTasks


async def test_all_end_together_and_may_take_a_moment_for_it() -> None:
    tasks, ended = PartTasks(), []

    async def wait(number: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(number)

    running = [tasks.begin(wait(number), "fetch part") for number in range(3)]
    await asyncio.sleep(0)
    await tasks.end()
    assert sorted(ended) == [0, 1, 2]
    assert all(task.cancelled() for task in running)
    tasks.check()


async def test_a_fault_of_the_program_is_raised_in_the_end() -> None:
    tasks = PartTasks()

    async def fail() -> None:
        raise ZeroDivisionError

    await asyncio.wait([tasks.begin(fail(), "fetch part")])
    await tasks.end()
    with pytest.raises(ZeroDivisionError):
        tasks.check()

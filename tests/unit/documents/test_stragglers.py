"""Lists that arrive slowly are not waited for, once clients could have another one."""

import asyncio

import pytest

from proxy.documents.stragglers import StragglerDeadline
from proxy.sources.errors import OriginUnreachable

ORIGIN, PATH = "http://a.example/", "streams/v1/slow.sjson"


async def forever() -> None:
    await asyncio.Event().wait()


async def test_what_arrives_in_time_is_returned() -> None:
    async def work() -> str:
        await asyncio.sleep(0.05)
        return "list"

    deadline = StragglerDeadline(60)
    deadline.note_list()
    assert await deadline.wait_for(ORIGIN, PATH, work()) == "list"


async def test_what_takes_longer_is_left_out_once_another_list_is_here() -> None:
    deadline = StragglerDeadline(0.01)
    waiting = asyncio.create_task(deadline.wait_for(ORIGIN, PATH, forever()))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    deadline.note_list()
    async with asyncio.timeout(10):
        with pytest.raises(OriginUnreachable, match=f"{PATH} takes longer than 0.01 s"):
            await waiting
        # The time is that of all lists together.
        with pytest.raises(OriginUnreachable):
            await deadline.wait_for(ORIGIN, PATH, forever())


async def test_what_fails_is_told_at_once() -> None:
    async def fail() -> None:
        raise OriginUnreachable(ORIGIN, "it is gone")

    with pytest.raises(OriginUnreachable, match="it is gone"):
        await StragglerDeadline(60).wait_for(ORIGIN, PATH, fail())

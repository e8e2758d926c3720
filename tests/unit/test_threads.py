"""Waiting for work that must not be abandoned."""

import asyncio

import pytest

from proxy.cache.threads import ended


async def test_who_is_cancelled_again_and_again_still_waits_to_the_end() -> None:
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(ended(work))
    for _ in range(3):
        await asyncio.sleep(0)
        waiting.cancel()
    await asyncio.sleep(0)
    assert not waiting.done()

    work.set_result(None)

    with pytest.raises(asyncio.CancelledError):
        await waiting

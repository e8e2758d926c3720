"""Work for several at once: done once, and given up with the last who wants it."""

import asyncio

import pytest

from proxy.service.shared import Shared


class Work:
    """Waits until it may end; counts how often it was begun and given up."""

    def __init__(self) -> None:
        self.begun = self.given_up = 0
        self.may_end = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> bytes:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if self.error is not None:
            raise self.error
        return b"done"


async def asked(shared: Shared[str, bytes], work: Work, count: int) -> list[asyncio.Task[bytes]]:
    askers = [asyncio.create_task(shared.get("a", work)) for _ in range(count)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return askers


async def left(*askers: asyncio.Task[bytes]) -> None:
    for one in askers:
        one.cancel()
    await asyncio.gather(*askers, return_exceptions=True)
    await asyncio.sleep(0)


async def test_all_get_what_was_done_once() -> None:
    shared, work = Shared[str, bytes](), Work()
    askers = await asked(shared, work, 5)
    work.may_end.set()
    assert await asyncio.gather(*askers) == [b"done"] * 5
    assert work.begun == 1
    await asyncio.gather(*await asked(shared, work, 1))
    assert work.begun == 2


async def test_it_goes_on_for_those_who_stay_and_ends_with_the_last() -> None:
    shared, work = Shared[str, bytes](), Work()
    first, second, third = await asked(shared, work, 3)
    await left(first, second)
    assert (work.begun, work.given_up) == (1, 0)
    await left(third)
    assert work.given_up == 1
    (late,) = await asked(shared, work, 1)
    work.may_end.set()
    assert await late == b"done"
    assert work.begun == 2


async def test_what_it_raises_is_raised_for_all() -> None:
    shared, work = Shared[str, bytes](), Work()
    work.error = OSError("broken")
    askers = await asked(shared, work, 2)
    work.may_end.set()
    for one in askers:
        with pytest.raises(OSError, match="broken"):
            await one

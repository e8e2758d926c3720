"""A timeout does not count what our own loop was late."""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
import uvloop

from proxy.sources.awake_timeout import AwakeTimeout

SECONDS = 0.2
STANDSTILL_S = 3 * SECONDS
LONG_S = 60.0

Loop = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Loop:
    """Return what runs a coroutine: one kind of loop reads before it looks at timers, the other after."""

    def run(what: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=request.param) as runner:
            return runner.run(what)

    return run


def stand_still() -> None:
    """Let the loop do nothing else for a while, as if the machine were overloaded or the process stopped."""
    time.sleep(STANDSTILL_S)


def test_what_came_while_the_loop_stood_still_is_read(run: Loop) -> None:
    async def receive() -> bytes:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            loop.call_soon(stand_still)
            loop.call_soon(theirs.send, b"here")
            async with AwakeTimeout(SECONDS) as timeout:
                received = await loop.sock_recv(ours, 4)
            assert timeout.late_s >= STANDSTILL_S - SECONDS
            return received

    assert run(receive()) == b"here"


def test_what_has_not_come_by_then_is_late(run: Loop) -> None:
    async def wait() -> None:
        asyncio.get_running_loop().call_soon(stand_still)
        async with AwakeTimeout(SECONDS):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(wait())


def test_a_loop_that_is_always_late_does_not_wait_for_ever(run: Loop) -> None:
    async def wait() -> None:
        loop = asyncio.get_running_loop()

        def dawdle() -> None:
            time.sleep(SECONDS / 5)
            loop.call_soon(dawdle)

        loop.call_soon(dawdle)
        async with AwakeTimeout(SECONDS):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        run(wait())


def test_nothing_counts_while_it_is_paused() -> None:
    async def wait() -> None:
        async with AwakeTimeout(SECONDS) as timeout:
            timeout.pause()
            await asyncio.sleep(2 * SECONDS)
            timeout.resume()

    asyncio.run(wait())


def test_it_goes_on_after_a_pause() -> None:
    async def wait() -> None:
        async with AwakeTimeout(SECONDS) as timeout:
            timeout.pause()
            timeout.resume()
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


def test_a_restart_counts_from_zero() -> None:
    """Shown by the clock of a loop that is asked often: each restart comes well within the time."""

    async def wait() -> None:
        loop = asyncio.get_running_loop()
        async with AwakeTimeout(SECONDS) as timeout:
            until = loop.time() + 2 * SECONDS
            while loop.time() < until:
                timeout.restart()
                await asyncio.sleep(0)

    asyncio.run(wait())


@pytest.mark.parametrize("go_on", [AwakeTimeout.resume, AwakeTimeout.restart])
def test_once_over_it_stays_over(go_on: Callable[[AwakeTimeout], None]) -> None:
    async def wait() -> None:
        timeout = AwakeTimeout(0.0)
        with suppress(TimeoutError):
            async with timeout:
                await asyncio.sleep(LONG_S)
        go_on(timeout)
        await asyncio.sleep(0.01)

    asyncio.run(wait())


def test_an_error_within_passes() -> None:
    async def fail() -> None:
        async with AwakeTimeout(LONG_S):
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(fail())

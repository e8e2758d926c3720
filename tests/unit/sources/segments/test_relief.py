"""Waiting for a piece of a main transfer, until it comes or is not needed."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from proxy.sources.origin import Piece
from proxy.sources.segments.relief import Relief


async def one_then_silence() -> AsyncGenerator[Piece, None]:
    yield b"one"
    await asyncio.Event().wait()


async def one_then_a_timeout() -> AsyncGenerator[Piece, None]:
    yield b"one"
    raise TimeoutError


async def test_pieces_come_until_the_wait_is_ended() -> None:
    relief, pieces = Relief(), one_then_silence()
    relief.end()
    assert await relief.next_of(pieces) == b"one"
    assert relief.waited_s == 0.0
    waiting = asyncio.create_task(relief.next_of(pieces))
    while not relief.waited_s:  # noqa: ASYNC110 - nobody tells that it has begun
        await asyncio.sleep(0)
    relief.end()
    relief.end()
    assert await waiting is None
    assert await relief.next_of(pieces) is None, "it is closed"


async def test_another_timeout_is_not_taken_for_the_end() -> None:
    relief, pieces = Relief(), one_then_a_timeout()
    assert await relief.next_of(pieces) == b"one"
    with pytest.raises(TimeoutError):
        await relief.next_of(pieces)


async def test_who_is_cancelled_is_cancelled() -> None:
    relief, pieces = Relief(), one_then_silence()
    assert await relief.next_of(pieces) == b"one"
    waiting = asyncio.create_task(relief.next_of(pieces))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()

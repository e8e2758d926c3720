"""How long one request may take, not counting what it waits for a connection of our own.

Only so many connections to a host are open at a time. What waits for its turn
behind others has not asked the origin anything yet, so that is none of the
origin's doing.
"""

import asyncio
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from aiohttp import (
    ClientSession,
    TraceConfig,
    TraceConnectionQueuedEndParams,
    TraceConnectionQueuedStartParams,
)


class Patience:
    """The time of one request, to be used with `async with`; aiohttp tells it when the request is queued."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(seconds)
        self._began_s = asyncio.get_running_loop().time()

    @property
    def spent_s(self) -> float:
        """How long the request has taken."""
        return asyncio.get_running_loop().time() - self._began_s

    def stop(self) -> None:
        """Let the time stand still."""
        self._timeout.reschedule(None)

    def begin_again(self) -> None:
        """Let the time run, all of it."""
        self._began_s = asyncio.get_running_loop().time()
        self._timeout.reschedule(self._began_s + self._seconds)

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)


def told_of_queues() -> TraceConfig:
    """Return what makes a session tell the Patience that is a request's `trace_request_ctx`."""
    config = TraceConfig()
    config.on_connection_queued_start.append(_queued)
    config.on_connection_queued_end.append(_has_turn)
    return config


async def _queued(_: ClientSession, context: SimpleNamespace, __: TraceConnectionQueuedStartParams) -> None:
    _patience(context).stop()


async def _has_turn(_: ClientSession, context: SimpleNamespace, __: TraceConnectionQueuedEndParams) -> None:
    _patience(context).begin_again()


def _patience(context: Any) -> Patience:
    patience: Patience = context.trace_request_ctx
    return patience

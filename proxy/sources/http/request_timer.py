"""How long one request may take, not counting the time that it waits for one of our own connections.

Only so many connections to a host are open at a time. A request that waits for its turn has
not asked the origin anything yet, so the origin is not to blame for that time.
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

from proxy.sources.awake_timeout import AwakeTimeout


class RequestTimer:
    """Limits the time of one request: use it with `async with`, and as the request's `trace_request_ctx`.

    Raises TimeoutError.
    """

    def __init__(self, seconds: float) -> None:
        self._timeout = AwakeTimeout(seconds)
        self._began_s = asyncio.get_running_loop().time()

    @property
    def spent_s(self) -> float:
        """How long the request has taken."""
        return asyncio.get_running_loop().time() - self._began_s

    @property
    def late_s(self) -> float:
        """How long our own loop has stood still within the request."""
        return self._timeout.late_s

    def pause(self) -> None:
        """Stop counting, while the request waits for a connection."""
        self._timeout.pause()

    def restart(self) -> None:
        """Count from zero again, now that the request has a connection."""
        self._began_s = asyncio.get_running_loop().time()
        self._timeout.restart()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._timeout.__aexit__(kind, error, trace)


def queue_tracing() -> TraceConfig:
    """Return what makes a session tell each request's timer when the request waits for a connection."""
    config = TraceConfig()
    config.on_connection_queued_start.append(_began_to_wait)
    config.on_connection_queued_end.append(_has_connection)
    return config


async def _began_to_wait(
    _: ClientSession, context: SimpleNamespace, __: TraceConnectionQueuedStartParams
) -> None:
    _timer(context).pause()


async def _has_connection(
    _: ClientSession, context: SimpleNamespace, __: TraceConnectionQueuedEndParams
) -> None:
    _timer(context).restart()


def _timer(context: Any) -> RequestTimer:
    timer: RequestTimer = context.trace_request_ctx
    return timer

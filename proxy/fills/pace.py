"""How fast a fill may go that no client waits for."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from proxy.digest import Digest
from proxy.fills.demand import Demand
from proxy.sources.throttle import TokenBucket

_YIELD_POLL_S = 0.1
_LONGEST_YIELD_S = 5.0
"""After this a chunk passes all the same, so that the origin does not hang up."""


class Pace(Protocol):
    """Says when a fill may go on."""

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when a fill that has just received `count` bytes may receive more."""


class Background:
    """Within a bandwidth, and only while no client waits for something else."""

    def __init__(self, demand: Demand, bucket: TokenBucket | None, clock: Callable[[], float]) -> None:
        self._demand = demand
        self._bucket = bucket
        self._clock = clock

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when a fill that has just received `count` bytes may receive more."""
        if self._bucket is not None:
            await self._bucket.take(count)
        until = self._clock() + _LONGEST_YIELD_S
        while self._demand.must_yield(digest, now := self._clock()) and now < until:  # noqa: ASYNC110
            await asyncio.sleep(_YIELD_POLL_S)


class Limited:
    """A pace within a bandwidth of its own."""

    def __init__(self, pace: Pace, bucket: TokenBucket) -> None:
        self._pace = pace
        self._bucket = bucket

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when both allow it."""
        await self._bucket.take(count)
        await self._pace.admit(digest, count)

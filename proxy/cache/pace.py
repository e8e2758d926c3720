"""How fast a fill may go: as fast as it can when clients wait for it, politely else."""

import asyncio
from collections.abc import Callable
from typing import Protocol

from proxy.cache.demand import Demand
from proxy.digest import Digest
from proxy.upstream.throttle import TokenBucket

_YIELD_POLL_S = 0.1
_LONGEST_YIELD_S = 5.0
"""After this a chunk passes all the same, so that the origin does not hang up."""


class Pace(Protocol):
    """Decides when a fill may go on."""

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when a fill that has just received `count` bytes may receive more."""


class Unhurried:
    """For clients who wait: never a pause."""

    async def admit(self, digest: Digest, count: int) -> None:
        """Go on."""


class Background:
    """For prefetching: within a bandwidth, and only while no client waits for something else."""

    def __init__(self, demand: Demand, bucket: TokenBucket | None, clock: Callable[[], float]) -> None:
        self._demand = demand
        self._bucket = bucket
        self._clock = clock

    async def admit(self, digest: Digest, count: int) -> None:
        """Wait while others must go first."""
        if self._bucket is not None:
            await self._bucket.take(count)
        until = self._clock() + _LONGEST_YIELD_S
        while self._demand.must_yield(digest, now := self._clock()) and now < until:  # noqa: ASYNC110
            await asyncio.sleep(_YIELD_POLL_S)

"""How fast a fill may go: at once for clients that wait for it, else as the background allows."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from proxy.digest import Digest
from proxy.fills.demand import Demand
from proxy.fills.interest import Interest
from proxy.sources.limits.priority import Priority
from proxy.system.threads import ended

_YIELD_POLL_S = 0.1
_LONGEST_YIELD_S = 5.0
"""After this a chunk passes all the same, so that the origin does not hang up."""
_AT_ONCE_BYTES = 4 * 1024 * 1024
_AT_ONCE_IN_BACKGROUND_BYTES = 512 * 1024


class Bandwidth(Protocol):
    """Bytes a second."""

    async def take(self, count: int) -> None:
        """Take bytes that have passed; wait while too many have."""


class Pace(Protocol):
    """Says when a fill may go on."""

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when a fill that has just received `count` bytes may receive more."""

    def allows_more(self, digest: Digest) -> bool:
        """Whether it may use further connections now."""


class Background:
    """Within a bandwidth, and only while no client waits for something else.

    `clock` gives the monotonic seconds that all processes share; `sleep` lets them pass.
    """

    def __init__(
        self,
        demand: Demand,
        bucket: Bandwidth | None,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._demand = demand
        self._bucket = bucket
        self._clock = clock
        self._sleep = sleep

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when a fill that has just received `count` bytes may receive more."""
        if self._bucket is not None:
            await self._bucket.take(count)
        until = self._clock() + _LONGEST_YIELD_S
        while self._demand.must_yield(digest, now := self._clock()) and now < until:
            await self._sleep(_YIELD_POLL_S)

    def allows_more(self, digest: Digest) -> bool:
        """Whether no client waits for something else, and no bandwidth has to be kept."""
        return self._bucket is None and not self._demand.must_yield(digest, self._clock())


class Limited:
    """A pace within a bandwidth of its own."""

    def __init__(self, pace: Pace, bucket: Bandwidth) -> None:
        self._pace = pace
        self._bucket = bucket

    async def admit(self, digest: Digest, count: int) -> None:
        """Return when both allow it."""
        await self._bucket.take(count)
        await self._pace.admit(digest, count)

    def allows_more(self, digest: Digest) -> bool:  # noqa: ARG002
        """Return False: one connection is enough for a bandwidth."""
        return False


class Turn:
    """When one fill may receive more, and how much at a time."""

    def __init__(self, digest: Digest, interest: Interest, background: Pace) -> None:
        self._digest = digest
        self._interest = interest
        self._background = background

    @property
    def at_once_bytes(self) -> int:
        """Much for clients that wait; else little, so that a bandwidth is kept evenly."""
        return _AT_ONCE_BYTES if self._interest.has_clients_anywhere() else _AT_ONCE_IN_BACKGROUND_BYTES

    def priority(self) -> Priority:
        """Return before whom the fill goes where a limit makes transfers wait."""
        self._interest.note()
        return Priority.CLIENT if self._interest.has_clients_anywhere() else Priority.BACKGROUND

    async def give_way(self, count: int) -> None:
        """Return when more may be received: at once for clients that wait, else as the background allows.

        A client may come while the background waits, for minutes where its bandwidth is low.
        """
        self._interest.note()
        if self._interest.has_clients_anywhere():
            return
        admitted = asyncio.ensure_future(self._background.admit(self._digest, count))
        try:
            await asyncio.sleep(0)  # As a rule nothing has to be waited for.
            while not (admitted.done() or self._interest.has_clients_anywhere()):
                await asyncio.wait([admitted], timeout=_YIELD_POLL_S)
        finally:
            admitted.cancel()
            await ended(admitted)
        if not admitted.cancelled():
            admitted.result()

    def allows_more(self) -> bool:
        """Whether it may use further connections now: clients that wait come before prefetches."""
        return self._interest.has_clients_anywhere() or self._background.allows_more(self._digest)

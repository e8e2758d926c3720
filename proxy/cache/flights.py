"""The running fills of this process: at most one for each digest.

Owns how an item that is not in the store gets to a client: by joining the fill
that runs, by starting one, or past the store when that cannot take it.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from enum import Enum
from functools import partial
from random import Random
from typing import NamedTuple

from proxy.cache.bodies import Body, FillingBody, PassingBody, StoredBody
from proxy.cache.demand import Demand
from proxy.cache.failures import Failures
from proxy.cache.feed import FeedOptions
from proxy.cache.fill import Fill
from proxy.cache.pace import Background
from proxy.cache.storage import Storage
from proxy.digest import Digest
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault
from proxy.upstream.options import UpstreamOptions
from proxy.upstream.pull import Pull
from proxy.upstream.route import Route

log = logging.getLogger(__name__)


class Outcome(Enum):
    """How a request was answered; the same word in logs, statistics and Cache-Status."""

    HIT = "hit"
    STALE = "stale"
    MISS = "miss"
    JOIN = "join"
    BYPASS = "bypass"


class Opened(NamedTuple):
    """A body and how it was had."""

    body: Body
    outcome: Outcome


class Flights:
    """Starts fills and lets clients join them."""

    def __init__(
        self,
        storage: Storage,
        failures: Failures,
        upstream: UpstreamOptions,
        feed: FeedOptions,
        random: Random,
        demand: Demand,
        pace: Background,
    ) -> None:
        self._storage = storage
        self._failures = failures
        self._upstream = upstream
        self._feed = feed
        self._random = random
        self._demand = demand
        self._pace = pace
        self._fills: dict[Digest, Fill] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, item: Item, route: Route) -> Opened:
        """Return an item's bytes as soon as there is a first one to send.

        Raises ItemAbsent, BadItem or ItemUnobtainable.
        """
        await self._failures.check(item.digest, route.names)
        pull_from = partial(self._pull, item, route)
        bypass = partial(PassingBody, item, pull_from, self._storage.threads)
        fill, outcome = self._join(item, route, pull_from)
        try:
            with fill.waited_for():
                await fill.begun()
                blob = self._storage.store.open(item.digest, item.size_bytes) if fill.is_verified else None
                if blob is not None:
                    return Opened(StoredBody(blob), outcome)
                return Opened(FillingBody(fill.reader(), self._feed, bypass), outcome)
        except StoreFault:
            return Opened(bypass(), Outcome.BYPASS)

    async def ensure(self, item: Item, route: Route) -> AsyncGenerator[int, None]:
        """Bring an item into the store with nobody waiting; yield how many bytes of it are here.

        Raises ItemAbsent, BadItem, ItemUnobtainable or StoreFault.
        """
        if self._storage.store.has(item.digest):
            return
        await self._failures.check(item.digest, route.names)
        fill, _ = self._join(item, route, partial(self._pull, item, route))
        while not fill.is_over:
            await fill.changed()
            yield fill.filled_bytes
        if fill.error is not None:
            raise fill.error

    async def close(self) -> None:
        """Stop all fills; their partial files stay for the next run."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _join(self, item: Item, route: Route, pull_from: Callable[[int], Pull]) -> tuple[Fill, Outcome]:
        running = self._fills.get(item.digest)
        if running is not None:
            return running, Outcome.HIT if running.is_verified else Outcome.JOIN
        fill = Fill(item, route, pull_from, self._storage, self._failures, self._demand, self._pace)
        self._fills[item.digest] = fill
        task = asyncio.create_task(fill.run(), name=f"fill {item.digest[:12]}")
        self._tasks.add(task)
        task.add_done_callback(partial(self._land, fill))
        return fill, Outcome.MISS

    def _land(self, fill: Fill, task: asyncio.Task[None]) -> None:
        del self._fills[fill.item.digest]
        self._tasks.discard(task)
        fill.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("blob.fill_crashed digest=%s", fill.item.digest, exc_info=error)

    def _pull(self, item: Item, route: Route, offset: int) -> Pull:
        return Pull(route, item.path, item.size_bytes, offset, self._upstream, self._random)

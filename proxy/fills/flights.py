"""The running fills of this process: at most one for each digest.

Owns how an item that is not in the store gets to a client: by joining the fill
that runs, by starting one, or past the store when that cannot take it.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from enum import Enum
from functools import partial
from random import Random
from typing import NamedTuple

from proxy.digest import Digest
from proxy.fills.bodies import Body, FillingBody, PassingBody, StoredBody
from proxy.fills.demand import Demand
from proxy.fills.failures import BadItem
from proxy.fills.feed import FeedOptions
from proxy.fills.fill import Fill
from proxy.fills.leader import BegunAnew, Findings, look_up
from proxy.fills.liars import Liars
from proxy.fills.pace import Pace
from proxy.fills.places import Places
from proxy.simplestreams.model import Item
from proxy.sources.options import UpstreamOptions
from proxy.sources.pull import Doubts, ItemAbsent, ItemUnobtainable, Pull, Source
from proxy.sources.route import Route
from proxy.store.files import StoreFault
from proxy.store.ledger import LedgerUnavailable
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_COMMIT_WAIT_S = 5.0

_Key = tuple[Digest, int]
"""Digest and size in bytes: a list that gives a wrong size must not disturb those that do not."""


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


Again = Callable[[BegunAnew], Awaitable[Opened]]


class Flights:
    """Starts fills and lets clients join them."""

    def __init__(
        self,
        storage: Storage,
        liars: Liars,
        upstream: UpstreamOptions,
        feed: FeedOptions,
        random: Random,
        demand: Demand,
        pace: Pace,
        places: Places,
    ) -> None:
        self._storage = storage
        self.places = places
        self._liars = liars
        self._failures = liars.failures
        self._upstream = upstream
        self._feed = feed
        self._random = random
        self.demand = demand
        self.background = pace
        """The pace of fills that no client waits for."""
        self._fills: dict[_Key, Fill] = {}
        self._turns = itertools.count()
        self._tasks: dict[Fill, asyncio.Task[None]] = {}

    async def open(self, item: Item, route: Route, client: str) -> Opened:
        """Return an item's bytes as soon as there is a first one to send to a client.

        Raises ItemAbsent, BadItem, ItemUnobtainable, WrongLength or Crowded.
        """
        return await self._open(item, route, client, tries_left=_tries(route))

    async def _open(self, item: Item, route: Route, client: str, tries_left: int) -> Opened:
        """Open an item, again when what had come turns out wrong and some origin may have it right."""
        look = await self._look_up(item, route)
        source = Source(route, item.path)
        again = partial(self._open_again, item, route, client, tries_left)
        fill, outcome = self._join(item, source, look=look)
        try:
            return await self._begin(fill, outcome, client, again)
        except BegunAnew as error:
            return await again(error)
        except (ItemAbsent, ItemUnobtainable):
            if outcome is not Outcome.JOIN or not tries_left:
                raise
            # That was said of other sources than ours.
            return await self._open(item, route, client, tries_left - 1)

    async def _open_again(
        self, item: Item, route: Route, client: str, tries_left: int, error: BegunAnew
    ) -> Opened:
        if not tries_left:
            raise BadItem(item.digest, error.problem) from error
        return await self._open(item, route, client, tries_left - 1)

    async def ensure(self, item: Item, route: Route, pace: Pace | None = None) -> AsyncGenerator[int, None]:
        """Bring an item into the store with nobody waiting; yield how many bytes of it are here.

        `pace` is the background's unless given. When the last who wants it so leaves, the
        transfer stops, unless a client wanted it too. Raises ItemAbsent, BadItem,
        ItemUnobtainable, Crowded or StoreFault.
        """
        if self._storage.store.problem(item.digest, item.size_bytes, deep=False) is None:
            return
        source = Source(route, item.path, next(self._turns))
        for _ in range(1 + _tries(route)):
            look = await self._look_up(item, route)
            fill, _ = self._join(item, source, pace, look)
            async with aclosing(self._progress(fill)) as progress:
                async for filled_bytes in progress:
                    yield filled_bytes
            if not isinstance(fill.error, BegunAnew):
                break
        if isinstance(fill.error, BegunAnew):
            raise BadItem(item.digest, fill.error.problem)
        if fill.error is not None:
            raise fill.error

    async def _progress(self, fill: Fill) -> AsyncGenerator[int, None]:
        with fill.company.with_job():
            while not fill.is_over:
                await fill.changed()
                yield fill.filled_bytes

    def let_go(self, fill: Fill) -> None:
        """End a fill that nobody wants, so that whoever comes begins another."""
        if self._fills.get(_key(fill.item)) is fill:
            del self._fills[_key(fill.item)]
        task = self._tasks.get(fill)
        if task is not None and not task.cancelling():
            log.info("blob.let_go digest=%s bytes=%d", fill.item.digest, fill.filled_bytes)
            self._storage.counters.transfers.let_go()
            task.cancel()

    async def close(self) -> None:
        """Stop all fills; their partial files stay for the next run.

        Those that are proved, and only have to reach the disk, are waited for.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_WAIT_S):
                for fill in list(self._fills.values()):
                    while fill.is_verified and not fill.is_over:
                        await fill.changed()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _begin(self, fill: Fill, outcome: Outcome, client: str, again: Again) -> Opened:
        item = fill.item
        threads = self._storage.threads
        bypass = partial(PassingBody, fill, self._liars, threads, self._feed)
        try:
            with fill.company.with_client(client):
                await fill.begun(self._feed.first_byte_within_s)
                if outcome is Outcome.MISS and fill.is_led_elsewhere:
                    outcome = Outcome.JOIN
                blob = self._storage.store.open(item.digest, item.size_bytes) if fill.is_verified else None
                if blob is not None:
                    return Opened(StoredBody(blob, threads), outcome)
                return Opened(FillingBody(fill.reader(client), self._feed, threads, bypass, again), outcome)
        except StoreFault:
            body = bypass()
            try:
                await body.begin()
            except BaseException:
                await body.close()
                raise
            return Opened(body, Outcome.BYPASS)

    async def _look_up(self, item: Item, route: Route) -> Findings | None:
        """Return what the ledger says to a fill that may begin; None if it cannot be asked, or one runs.

        Raises ItemAbsent or BadItem when no origin had it right a short while ago.
        """
        running = self._fills.get(_key(item))
        if running is not None and not running.is_over:
            await self._failures.check(item, route.names)
            return None
        with contextlib.suppress(LedgerUnavailable):
            return await self._storage.threads.ledger(self._look_up_now, item, route)
        return None

    def _look_up_now(self, item: Item, route: Route) -> Findings | None:
        self._failures.check_now(item, route.names)
        try:
            return look_up(item, self._storage.room, self._liars)
        except Exception:  # noqa: BLE001 - the fill asks again, and fails where clients are helped past it
            return None

    def _join(
        self, item: Item, source: Source, pace: Pace | None = None, look: Findings | None = None
    ) -> tuple[Fill, Outcome]:
        key = _key(item)
        running = self._fills.get(key)
        if running is not None and not running.is_over:
            running.add_source(source)
            return running, Outcome.HIT if running.is_verified else Outcome.JOIN
        sources = [source]
        pull_from = partial(self._pull, sources, item.size_bytes)
        fill = Fill(
            item,
            sources,
            pull_from,
            self._storage,
            self._liars,
            pace or self.background,
            self,
            look,
        )
        self._fills[key] = fill
        task = asyncio.create_task(fill.run(), name=f"fill {item.digest[:12]}")
        self._tasks[fill] = task
        task.add_done_callback(partial(self._land, key, fill))
        return fill, Outcome.MISS

    def _land(self, key: _Key, fill: Fill, task: asyncio.Task[None]) -> None:
        if self._fills.get(key) is fill:
            del self._fills[key]
        del self._tasks[fill]
        fill.close()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("blob.fill_crashed digest=%s", fill.item.digest, exc_info=error)

    def _pull(self, sources: list[Source], size_bytes: int, offset: int, doubts: Doubts) -> Pull:
        return Pull(sources, size_bytes, offset, self._upstream, self._random, doubts)


def _key(item: Item) -> _Key:
    return item.digest, item.size_bytes


def _tries(route: Route) -> int:
    """Return how often an item may be begun anew: each origin may lie once, and spoil another's once."""
    return 2 * len(route)

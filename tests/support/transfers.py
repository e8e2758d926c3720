"""Fills on real files, a real ledger and loopback origins, without documents and without HTTP for clients."""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar, TypeVarTuple

from proxy.counting.counters import Counters
from proxy.fills.bodies import Opened, SentPart, Sink
from proxy.fills.demand import Demand
from proxy.fills.facilities import Facilities
from proxy.fills.failures import Failures
from proxy.fills.feed import FeedOptions
from proxy.fills.fill import Fill
from proxy.fills.first_bytes import FirstBytes
from proxy.fills.flights import Flights
from proxy.fills.opening import Opening
from proxy.fills.pace import Background, Pace
from proxy.fills.places import Places
from proxy.fills.silence import Silences
from proxy.fills.wrong_bytes import WrongBytes
from proxy.simplestreams.model import Item
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local.folders import Folders
from proxy.store.protocols import PruneStore
from proxy.store.storage import Storage, open_store
from proxy.system.threads import Threads
from support.origin import Origin
from support.running import Clock
from support.stored import recorded
from support.tree import TreeItem
from support.upstreams import Meter, asked_with

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

UPSTREAM = UpstreamOptions(connect_timeout_s=10, stall_timeout_s=20, give_up_after_s=60)
"""Patient, for machines that do much else; what a test waits for comes at once."""
IMPATIENT = UpstreamOptions(connect_timeout_s=1, stall_timeout_s=1, give_up_after_s=1)


class CountingThreads(Threads):
    """Threads that count the visits to the ledger."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger_visits = 0

    async def ledger(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Count a visit, and make it."""
        self.ledger_visits += 1
        return await super().ledger(function, *args)


@dataclass
class Received(Sink):
    """A client that keeps what it gets."""

    body: bytearray = field(default_factory=bytearray)
    is_begun: asyncio.Event = field(default_factory=asyncio.Event)

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Read it from the file."""
        part = SentPart(fd, offset, offset + count)
        self.body += await asyncio.to_thread(_read, part)
        self.is_begun.set()

    async def send_bytes(self, data: bytes) -> None:
        """Take it."""
        self.body += data
        self.is_begun.set()


def _read(part: SentPart) -> bytes:
    return os.pread(part.fd, part.stop - part.start, part.start)


@dataclass
class Process:
    """What one process has for its fills; several on one data directory are like workers."""

    facilities: Facilities
    flights: Flights
    route: Route
    threads: CountingThreads

    @property
    def storage(self) -> Storage:
        """The store and its ledger."""
        return self.facilities.storage

    @property
    def store(self) -> PruneStore:
        """The store."""
        return self.storage.store

    @property
    def folders(self) -> Folders:
        """Where the store's files are."""
        return Folders(self.storage.data_dir)

    @property
    def fill(self) -> Fill:
        """The only fill that runs."""
        (fill,) = self.flights._running
        return fill

    async def open(self, item: Item, client: str = "192.0.2.1", route: Route | None = None) -> Opened:
        """Open an item for a client."""
        return await Opening(self.flights, item, route or self.route, client).open()

    async def read(self, item: Item, client: str = "192.0.2.1", into: Received | None = None) -> bytes:
        """Return the whole item, as a client gets it. Raises what sending raises."""
        received = into or Received()
        opened = await self.open(item, client)
        try:
            await opened.body.send_to(received, 0, item.size_bytes)
        finally:
            await opened.body.close()
        return bytes(received.body)

    async def fetch(self, item: Item, pace: Pace | None = None) -> list[int]:
        """Bring an item into the store as a job does; return the progress that it saw."""
        return [filled_bytes async for filled_bytes in self.flights.ensure(item, self.route, pace)]

    async def record(self, key: str) -> object:
        """Return a record of the ledger as it is written."""
        return await self.threads.ledger(recorded, self.storage.ledger, key)


@contextlib.asynccontextmanager
async def run_process(
    data_dir: Path,
    *origins: Origin,
    clock: Clock | None = None,
    background: Callable[[Demand], Pace] | None = None,
    limits: StoreLimits | None = None,
    upstream: UpstreamOptions = UPSTREAM,
    feed: FeedOptions | None = None,
    silences: Silences | None = None,
) -> AsyncIterator[Process]:
    """Open all that fills need, for the length of the context."""
    clock = clock or Clock()
    async with contextlib.AsyncExitStack() as stack:
        threads = CountingThreads()
        stack.push_async_callback(threads.close)
        store = await threads.disk(open_store, data_dir)
        ledger = await threads.ledger(Ledger, data_dir / "ledger", clock)
        threads.when_ended(ledger.close)
        counters = await threads.disk(Counters, data_dir / "stats", clock)
        stack.callback(counters.close)
        limits = limits or StoreLimits(min_free_bytes=0)
        parts = (data_dir, store, ledger, limits, threads, counters, set)
        storage = await threads.disk(Storage.of, *parts)
        threads.when_ended(storage.health.close)
        sessions = await stack.enter_async_context(Sessions(upstream))
        demand = await threads.disk(Demand, data_dir / "boards" / ".demand")
        stack.callback(demand.close)
        first_bytes = await threads.disk(FirstBytes, data_dir / "boards" / ".first-bytes")
        stack.callback(first_bytes.close)
        failures = Failures(storage, clock)
        facilities = Facilities(
            storage=storage,
            failures=failures,
            wrong_bytes=WrongBytes(storage, failures, clock),
            places=Places(8, 5, counters.transfers),
            demand=demand,
            first_bytes=first_bytes,
            upstream=upstream,
            feed=feed or FeedOptions(drip_interval_s=0.2),
            random=Random(1),
            hosts=Hosts(upstream.connections_per_item, time.monotonic),
            silences=silences or Silences(),
        )
        pace = Background(demand, None, time.monotonic) if background is None else background(demand)
        flights = Flights(facilities, pace)
        stack.push_async_callback(flights.close)
        route = Route([asked_with(sessions, one, Meter()) for one in origins], time.monotonic)
        threads.ledger_visits = 0
        yield Process(facilities, flights, route, threads)


def listed(item: TreeItem) -> Item:
    """Return an item of a tree as its list names it."""
    return Item(path=item.path, digest=item.digest, size_bytes=item.size)

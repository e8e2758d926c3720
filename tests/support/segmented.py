"""A large item of origins that send slowly on each connection, and how it is pulled over several."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from pathlib import Path
from random import Random
from time import monotonic

from proxy.sources.candidates import Doubts, Source
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions
from proxy.sources.pull import Pull
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts
from support.faults import Fault
from support.origin import Origin
from support.tree import random_blocks
from support.upstreams import Meter, asked_with

MIB = 1024 * 1024
SIZE = 14 * MIB
RATE = 4 * MIB
"""Of each connection, a second."""
OPTIONS = UpstreamOptions(stall_timeout_s=20, give_up_after_s=5)


class PartsCounted:
    """Adds up what is noted of parts."""

    def __init__(self) -> None:
        self.fetched_bytes = 0
        self.times_given_up = 0
        self.discarded_bytes = 0
        self.times_refused = 0

    def fetched(self, count: int) -> None:
        self.fetched_bytes += count

    def given_up(self) -> None:
        self.times_given_up += 1

    def refused(self) -> None:
        self.times_refused += 1

    def discarded(self, count: int) -> None:
        self.discarded_bytes += count


class Several:
    """Some origins of one item, each slow on each connection, and how it is pulled from them."""

    def __init__(
        self, origins: list[Origin], sessions: Sessions, clock: Callable[[], float], data: bytes
    ) -> None:
        self.origins = origins
        self.data = data
        self.last_byte_at = 0.0
        self.parts = PartsCounted()
        self.hosts = Hosts(4, clock, self.parts)
        self.route = Route([asked_with(sessions, one, Meter()) for one in origins], clock)

    def pull(self, doubts: Doubts = Doubts()) -> Pull:  # noqa: B008 - frozen
        source = Source(self.route, "item")
        return Pull([source], SIZE, 0, OPTIONS, Random(1), doubts, self.hosts)

    async def read(self, pull: Pull | None = None) -> bytes:
        got = bytearray()
        async with aclosing((pull or self.pull()).pieces()) as pieces:
            async for piece in pieces:
                got += piece if isinstance(piece, bytes) else await asyncio.to_thread(piece.read)
                self.last_byte_at = monotonic()
        return bytes(got)

    async def comes_right(self, pull: Pull | None = None) -> bool:
        got = await self.read(pull)
        return hashlib.sha256(got).digest() == hashlib.sha256(self.data).digest()

    def fault(self, fault: Fault, times: int | None = None, origin: int = 0) -> None:
        self.origins[origin].fault("item", fault, times)

    @property
    def counts(self) -> list[int]:
        return [one.count("item") for one in self.origins]

    @property
    def sent_bytes(self) -> int:
        return sum(seen.sent_bytes for one in self.origins for seen in one.gets("item"))


@asynccontextmanager
async def serving(
    folder: Path, clock: Callable[[], float], origins: int, options: UpstreamOptions = OPTIONS
) -> AsyncIterator[Several]:
    """Run so many origins of the item."""
    data = b"".join(random_blocks("item", SIZE))
    (folder / "item").write_bytes(data)
    async with AsyncExitStack() as stack:
        running = [await stack.enter_async_context(Origin(folder)) for _ in range(origins)]
        for one in running:
            one.fault("item", Fault(rate_bytes_s=RATE))
        yield Several(running, await stack.enter_async_context(Sessions(options)), clock, data)


def host_of(origin: Origin) -> str:
    """Return the host and port of an origin, as hosts are told apart."""
    return origin.url.removeprefix("http://").strip("/")

"""While a SocketBody reads a socket nobody else does, in whatever order things happen.

The library gives a connection to the next request once it has a body whole, though somebody has still
to read it; what that reader does later is no business of the next body's.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import uvloop
from support.certificates import Certificate
from support.crush import LOOPS, Crush
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.tree import random_blocks
from support.upstreams import Meter, asked_with

from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.sessions import READ_BUFFER_BYTES, Sessions
from proxy.sources.http.socket_body import SocketBody
from proxy.sources.options import UpstreamOptions

MIB = 1024 * 1024
OPTIONS = UpstreamOptions(connections=1, stall_timeout_s=2)
LARGE = b"".join(random_blocks("large", 12 * MIB))
MOST_BUFFERED = 2 * READ_BUFFER_BYTES
BUFFERED = (
    6_000,
    *(READ_BUFFER_BYTES + more for more in (-1, 0, 1)),
    *(MOST_BUFFERED - less for less in (4_096, 1, 0)),
)
"""Sizes of bodies that the library takes whole, though only their beginning was read."""

ITEMS = 60


class Reader:
    """A body that is read piece by piece, when a test says so."""

    def __init__(self, pieces: AsyncIterator[bytes | SocketBody]) -> None:
        self._pieces = pieces
        self.body = bytearray()
        self.is_straight = False

    async def step(self) -> bool:
        """Read one piece; return whether there was one."""
        piece = await anext(self._pieces, None)
        if isinstance(piece, SocketBody):
            self.is_straight = True
            piece = await asyncio.to_thread(piece.read)
        self.body += piece or b""
        return piece is not None

    async def until_straight(self) -> None:
        """Read until a SocketBody does it."""
        while not self.is_straight:
            assert await self.step()

    async def rest(self) -> None:
        """Read to the end."""
        while await self.step():
            pass


@asynccontextmanager
async def reading(upstream: Upstream, path: str, offset: int = 0) -> AsyncIterator[Reader]:
    """Begin to read a file, and end with the context wherever one is then."""
    async with upstream.open(path, offset=offset) as reply, aclosing(reply.pieces()) as pieces:
        yield Reader(pieces)


@asynccontextmanager
async def one_connection(place: "Place", first_bytes: int) -> AsyncIterator[tuple[Origin, Upstream]]:
    """Serve a file that the library can buffer whole, and a large one."""
    (place.folder / "first").write_bytes(LARGE[:first_bytes])
    (place.folder / "large").write_bytes(LARGE)
    async with Origin(place.folder, tls=place.tls) as origin, Sessions(OPTIONS) as sessions:
        yield origin, asked_with(sessions, origin, Meter())


@asynccontextmanager
async def first_is_buffered(origin: Origin, upstream: Upstream) -> AsyncIterator[Reader]:
    """Read the beginning of a document that the library has whole; most of it is still to be read."""
    async with upstream.open("first") as reply, aclosing(reply.chunks()) as chunks:
        first = Reader(chunks)
        await first.step()
        await origin.idle()
        yield first


class Place(NamedTuple):
    """Where an origin's files are, and what it serves with."""

    folder: Path
    tls: ssl.SSLContext | None


@pytest.fixture(params=["http", "https"])
def place(request: pytest.FixtureRequest, tmp_path: Path, trusted: Certificate) -> Place:
    """Return a place for an origin of either kind."""
    return Place(tmp_path, trusted.server if request.param == "https" else None)


@pytest.fixture(params=[uvloop.run, asyncio.run])
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, None]], None]:
    """Run something on the loop that serves, and on the one of commands."""
    runner: Callable[[Coroutine[Any, Any, None]], None] = request.param
    return runner


@pytest.mark.parametrize("first_bytes", BUFFERED)
@pytest.mark.parametrize("offset", [0, MIB])
def test_a_body_read_late_takes_nothing_from_the_next(
    place: Place, run: Callable[..., None], first_bytes: int, offset: int
) -> None:
    """Whether the next is a whole file or the rest of one, both come in full on the one connection."""

    async def both() -> None:
        async with (
            one_connection(place, first_bytes) as (origin, upstream),
            first_is_buffered(origin, upstream) as first,
            reading(upstream, "large", offset) as large,
        ):
            await large.until_straight()
            await first.rest()
            await large.rest()
            assert first.body == LARGE[:first_bytes]
            assert large.body == LARGE[offset:]
            assert origin.connections == 1

    run(both())


def test_a_body_read_piece_by_piece_beside_the_next(place: Place, run: Callable[..., None]) -> None:
    """Each piece of the one may fall between any two of the other."""

    async def both() -> None:
        async with (
            one_connection(place, MOST_BUFFERED) as (origin, upstream),
            first_is_buffered(origin, upstream) as first,
            reading(upstream, "large") as large,
        ):
            while any([await large.step(), await first.step()]):
                pass
            assert first.body == LARGE[:MOST_BUFFERED]
            assert large.body == LARGE

    run(both())


def test_a_body_that_nobody_goes_on_with(place: Place, run: Callable[..., None]) -> None:
    """Whoever leaves a buffered body lets go of nothing that is another's by then."""

    async def both() -> None:
        async with one_connection(place, MOST_BUFFERED) as (origin, upstream):
            async with first_is_buffered(origin, upstream) as first:
                begun = reading(upstream, "large")
                large = await begun.__aenter__()
                await large.until_straight()
            await large.rest()
            await begun.__aexit__(None, None, None)
            assert LARGE.startswith(first.body)
            assert large.body == LARGE
            assert origin.connections == 1

    run(both())


def test_three_bodies_on_one_connection(place: Place, run: Callable[..., None]) -> None:
    """The connection is used for a third while the first is still being read, and the second is over."""

    async def all_three() -> None:
        async with (
            one_connection(place, MOST_BUFFERED) as (origin, upstream),
            first_is_buffered(origin, upstream) as first,
        ):
            for _ in range(2):
                async with reading(upstream, "large") as large:
                    await large.until_straight()
                    await first.step()
                    await large.rest()
                assert large.body == LARGE
            await first.rest()
            assert first.body == LARGE[:MOST_BUFFERED]
            assert origin.connections == 1

    run(all_three())


@pytest.mark.parametrize(
    "fault", [Fault(close_after=6 * MIB), Fault(cut_after=6 * MIB), Fault(headers={"Connection": "close"})]
)
def test_a_connection_that_ends_takes_nothing_along(
    place: Place, run: Callable[..., None], fault: Fault
) -> None:
    """A body that the library has is read to its end, whatever becomes of its connection."""

    async def both() -> None:
        async with (
            one_connection(place, MOST_BUFFERED) as (origin, upstream),
            first_is_buffered(origin, upstream) as first,
        ):
            origin.fault("large", fault, times=1)
            async with reading(upstream, "large") as large:
                await large.until_straight()
                await first.step()
                if fault.body_marks():
                    with pytest.raises(OriginUnreachable):
                        await large.rest()
                else:
                    await large.rest()
                    assert large.body == LARGE
                assert LARGE.startswith(large.body)
            await first.rest()
            assert first.body == LARGE[:MOST_BUFFERED]
            async with reading(upstream, "large") as large:
                await large.rest()
            assert large.body == LARGE
            assert origin.connections == 2

    run(both())


def test_who_leaves_a_straight_leaves_the_others_theirs(place: Place, run: Callable[..., None]) -> None:
    """The connection is closed; what was buffered of an earlier body is not."""

    async def both() -> None:
        async with (
            one_connection(place, MOST_BUFFERED) as (origin, upstream),
            first_is_buffered(origin, upstream) as first,
        ):
            async with reading(upstream, "large") as large:
                await large.until_straight()
            async with reading(upstream, "large") as large:
                await large.until_straight()
                await first.rest()
                await large.rest()
            assert first.body == LARGE[:MOST_BUFFERED]
            assert large.body == LARGE
            assert origin.connections == 2

    run(both())


def test_what_is_cancelled_while_it_waits(place: Place, run: Callable[..., None]) -> None:
    """A task that ends in the middle lets go of its connection, and the next one gets one."""

    async def both() -> None:
        async with one_connection(place, MOST_BUFFERED) as (origin, upstream):
            stall = origin.fault("large", Fault(stall_after=6 * MIB), times=1)

            async def read() -> None:
                async with reading(upstream, "large") as large:
                    await large.rest()

            task = asyncio.create_task(read())
            await stall.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            async with reading(upstream, "large") as large:
                await large.rest()
            assert large.body == LARGE
            assert origin.connections == 2

    run(both())


def test_sessions_close_at_once_while_somebody_reads(place: Place, run: Callable[..., None]) -> None:
    """The library can close what it has lent, and does not wait for whoever has it."""

    async def close() -> None:
        (place.folder / "large").write_bytes(LARGE)
        async with Origin(place.folder, tls=place.tls) as origin:
            sessions = Sessions(OPTIONS)
            upstream = asked_with(sessions, origin, Meter())
            async with reading(upstream, "large") as large:
                await large.until_straight()
                async with asyncio.timeout(20):
                    await sessions.__aexit__(None, None, None)

    run(close())


@pytest.mark.parametrize("loop", LOOPS)
def test_many_sizes_over_few_connections(tmp_path: Path, key: SigningKey, loop: Callable[..., None]) -> None:
    """An honest origin comes out as one, and every client gets its bytes.

    `bench/crush.py` goes on for 10,000 items.
    """
    crush = Crush(tmp_path, key, seed=7, items=ITEMS)
    loop(crush.round())
    assert crush.report.broken == []
    assert crush.report.blamed == []
    assert crush.report.items == ITEMS

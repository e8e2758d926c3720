"""What had arrived of a body is not lost with its connection, however late it is read."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.redirects import RedirectGuard
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
from proxy.sources.limits.flow import ANY_FLOW
from proxy.sources.limits.limit import Limit
from proxy.sources.limits.limits import Limits
from proxy.sources.limits.state import Taken
from proxy.sources.options import UpstreamOptions

SIZE = 600_000
SENT = 100_000
"""So much the library receives though nobody reads it."""


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    (tmp_path / "file").write_bytes(bytes(range(250)) * (SIZE // 250))
    async with Origin(tmp_path) as origin:
        yield origin


@pytest.fixture
async def upstream(origin: Origin) -> AsyncIterator[Upstream]:
    async with Sessions(UpstreamOptions()) as sessions:
        yield asked_with(sessions, origin, Meter())


async def take(reply: Reply, got: bytearray) -> None:
    """Read a body to its end."""
    async for chunk in reply.chunks():
        got += chunk


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("break_off", [Fault(close_after=SENT), Fault(cut_after=SENT)], ids=["closed", "cut"])
async def test_all_that_came_before_the_break_is_read(
    origin: Origin, upstream: Upstream, tmp_path: Path, break_off: Fault, chunked: bool
) -> None:
    origin.fault("file", replace(break_off, chunked=chunked))
    got = bytearray()
    async with upstream.open("file") as reply:
        while not reply._response.content.exception():  # noqa: ASYNC110 - the library has no event for it
            await asyncio.sleep(0)
        with pytest.raises(OriginUnreachable):
            await take(reply, got)
    assert bytes(got) == (tmp_path / "file").read_bytes()[:SENT]


@pytest.mark.parametrize(
    "fault", [Fault(cut_after=2_500_000), Fault(stall_after=2_500_000)], ids=["cut", "left"]
)
async def test_what_a_limit_granted_and_did_not_come_is_given_back(tmp_path: Path, fault: Fault) -> None:
    """When a reply breaks off, and when whoever reads it leaves."""
    (tmp_path / "file").write_bytes(bytes(8_000_000))
    limit, meter = Limit(purse := Unlimited()), Meter()
    async with Origin(tmp_path) as origin, Sessions(UpstreamOptions()) as sessions:
        handle = origin.fault("file", fault)
        guard = RedirectGuard([origin.url], (), tls_only=False)
        upstream = Upstream(origin.url, sessions, guard, meter, Limits([limit]))
        async with upstream.open("file") as reply:
            reading = asyncio.create_task(drain(reply))
            await handle.reached.wait()
            while meter.received_bytes < 2_500_000 and not reading.done():  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            reading.cancel()
            await asyncio.wait([reading])
    left_bytes, granted_bytes = 0, purse.granted_bytes
    while purse.granted_bytes == granted_bytes:
        left_bytes += limit.take_now(10_000, ANY_FLOW)
    assert granted_bytes == meter.received_bytes + left_bytes - 10_000
    assert left_bytes > 10_000


class Unlimited:
    """Grants a large chunk whenever it is asked."""

    rate_bytes_s = 64e6

    def __init__(self) -> None:
        self.granted_bytes = 0

    def take(self, *_: object) -> Taken:
        self.granted_bytes += 1_000_000
        return Taken(1_000_000)


async def drain(reply: Reply) -> None:
    async with aclosing(reply.pieces()) as pieces:
        async for piece in pieces:
            if not isinstance(piece, bytes):
                await asyncio.to_thread(piece.read)

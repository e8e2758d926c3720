"""What had arrived of a body is not lost with its connection, however late it is read."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.reply import Reply
from proxy.sources.http.sessions import Sessions
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

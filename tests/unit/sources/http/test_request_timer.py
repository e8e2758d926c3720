"""What waits for one of our own connections is not held against the origin."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.faults import Fault
from support.origin import Origin
from support.upstreams import Meter, asked_with

from proxy.sources.document import Validators
from proxy.sources.errors import OriginUnreachable
from proxy.sources.http.origin import HttpOrigin as Upstream
from proxy.sources.http.sessions import Sessions
from proxy.sources.options import UpstreamOptions

OPTIONS = UpstreamOptions(connections=1, connect_timeout_s=0.1, stall_timeout_s=0.3)


@pytest.fixture
async def origin(tmp_path: Path) -> AsyncIterator[Origin]:
    (tmp_path / "long").write_bytes(bytes(500_000))
    (tmp_path / "short").write_bytes(b"short")
    async with Origin(tmp_path) as origin:
        yield origin


@pytest.fixture
def meter() -> Meter:
    return Meter()


@pytest.fixture
async def upstream(origin: Origin, meter: Meter) -> AsyncIterator[Upstream]:
    async with Sessions(OPTIONS) as sessions:
        yield asked_with(sessions, origin, meter)


async def test_a_turn_is_waited_for_as_long_as_it_takes(
    origin: Origin, upstream: Upstream, meter: Meter
) -> None:
    """A transfer that takes longer than any timeout makes no later request fail."""
    origin.fault("long", Fault(rate_bytes_s=500_000))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(upstream.fetch("long", Validators()))
        await origin.arrived("long")
        others = [group.create_task(upstream.fetch("short", Validators())) for _ in range(3)]
    assert first.result() is not None
    assert [fetched.data for task in others if (fetched := task.result())] == [b"short"] * 3
    assert origin.connections == 1
    assert meter.failures == 0
    assert max(meter.answered_s) < 0.2


async def test_the_time_ends_for_a_request_that_has_had_its_turn(
    origin: Origin, upstream: Upstream, meter: Meter
) -> None:
    """Silence after the question is the origin's."""
    origin.fault("long", Fault(rate_bytes_s=1_000_000))
    origin.fault("short", Fault(latency_s=5))
    async with asyncio.TaskGroup() as group:
        group.create_task(upstream.fetch("long", Validators()))
        await origin.arrived("long")
        with pytest.raises(OriginUnreachable):
            await upstream.fetch("short", Validators())
    assert meter.failures == 1

"""Faults of an origin that pass: clients do not see them."""

import asyncio
from pathlib import Path

import pytest
from support.exchange import Exchange, read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem
from support.upstream_faults import (
    MIB,
    PERSISTENT,
    add_items_with_faults,
    assert_resumed,
    impatient_proxy,
    is_right,
    kept,
    resumed_at,
)

from proxy.mirror import Mirror

PASSING = [
    Fault(refuse=True),
    Fault(cut_after=0),
    Fault(close_after=0),
    Fault(latency_s=60),
    Fault(stall_after=0),
    Fault(status=500),
    Fault(status=502),
    Fault(status=503),
    Fault(status=503, headers={"Retry-After": "3600"}),
    Fault(status=429, headers={"Retry-After": "3600"}),
    Fault(status=403),
    Fault(status=416),
    Fault(status=204),
]


async def test_a_fault_that_passes_is_not_seen_by_clients(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """The origin is asked again, soon, and the item comes whole."""
    items = add_items_with_faults(tree, origin, PASSING, times=1)
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        replies = await asyncio.gather(*(read(proxy.url(item.path)) for item in items.values()))

        for (fault, item), reply in zip(items.items(), replies, strict=True):
            assert is_right(reply, item), fault
            assert await kept(proxy, item), fault
            assert origin.count(item.path) == 2, fault


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_an_origin_that_fails_for_a_while_is_asked_for_the_rest_again(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, status: int
) -> None:
    """Its errors were not about the range: what is here need not come twice."""
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        origin.fault(item.path, Fault(status=status), times=2)

        assert is_right(await read(proxy.url(item.path)), item)
    first, *resumed = resumed_at(origin, item)
    assert 0 == first < min(resumed) == max(resumed)
    assert len(resumed) == 3


async def test_an_origin_that_was_down_for_a_while_is_resumed(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """Stopped in the middle of a transfer, and started again a moment later."""
    stall = origin.fault(item.path, Fault(stall_after=MIB), times=1)
    async with Exchange(proxy.url(item.path)) as exchange:
        await exchange.begin()
        await stall.reached.wait()
        await origin.stop()
        await asyncio.sleep(0.3)
        await origin.start()

        assert is_right(await exchange.rest(), item)
    assert_resumed(origin, item, within=MIB)
    assert await kept(proxy, item)

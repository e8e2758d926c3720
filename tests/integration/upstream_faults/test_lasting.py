"""Faults of origins that last: clients get a visible end, what came is kept, and absence is told apart."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.tree import SignedTree, TreeItem
from support.upstream_faults import (
    MIB,
    PERSISTENT,
    add_items_with_faults,
    fault_name,
    impatient_proxy,
    is_cut,
    is_right,
    kept,
    resumed_at,
    with_origins,
)

from proxy.mirror import Mirror


async def test_what_came_is_kept_of_an_item_that_is_gone_in_its_middle(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, item: TreeItem
) -> None:
    """Its publisher may have removed it, or one of its machines lack it; a later request goes on there."""
    async with impatient_proxy(tmp_path, mirror, replace(PERSISTENT, give_up_after_s=30), clock) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        origin.fault(item.path, Fault(status=404))
        assert is_cut(await read(proxy.url(item.path)))
        await proxy.fills_ended()
        assert 5 <= origin.count(item.path) <= 9
        origin.heal()
        origin.clear()
        clock.advance(3600)

        assert is_right(await read(proxy.url(item.path)), item)
    (resumed,) = resumed_at(origin, item)
    assert 0 < resumed <= MIB


LASTING = [
    Fault(refuse=True),
    Fault(cut_after=0),
    Fault(stall_after=0),
    Fault(status=500),
    Fault(status=503, headers={"Retry-After": "1"}),
    Fault(status=429),
    Fault(status=403),
    Fault(status=416),
    Fault(status=206),
]


async def test_a_fault_that_lasts_cuts_clients_and_is_over_with_its_cause(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """No status tells of it, for clients take every 4xx and 5xx on an item as final."""
    items = add_items_with_faults(tree, origin, LASTING)
    async with impatient_proxy(tmp_path, mirror) as proxy:
        replies = await asyncio.gather(*(read(proxy.url(item.path)) for item in items.values()))

        for (fault, item), reply in zip(items.items(), replies, strict=True):
            assert is_cut(reply), fault
            assert not await kept(proxy, item), fault
            assert 1 <= origin.count(item.path) <= 10, fault

        origin.heal()
        for fault, item in items.items():
            assert is_right(await read(proxy.url(item.path)), item), fault


async def test_what_arrived_before_a_lasting_fault_is_kept_for_the_next_request(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    async with impatient_proxy(tmp_path, mirror) as proxy:
        origin.fault(item.path, Fault(stall_after=2 * MIB), times=1)
        origin.fault(item.path, Fault(status=503))

        reply = await read(proxy.url(item.path))
        assert is_cut(reply)
        assert reply.body == item.read()[: len(reply.body)]
        await proxy.fills_ended()
        origin.heal()
        origin.clear()

        assert is_right(await read(proxy.url(item.path)), item)
    (resumed,) = resumed_at(origin, item)
    assert 0 < resumed <= 2 * MIB


@pytest.mark.parametrize("status", [404, 410])
async def test_what_no_origin_has_is_404_and_remembered_for_a_moment(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem, status: int
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        for one in (origin, spare):
            one.fault(item.path, Fault(status=status))

        replies = [await read(proxy.url(item.path)) for _ in range(3)]

        assert [reply.status for reply in replies] == [404, 404, 404]
        assert (origin.count(item.path), spare.count(item.path)) == (1, 1)
        assert not await kept(proxy, item)


@pytest.mark.parametrize("fault", [LASTING[0], LASTING[2], LASTING[4]], ids=fault_name)
async def test_it_is_not_404_while_an_origin_cannot_be_asked(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem, fault: Fault
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        origin.fault(item.path, Fault(status=404))
        spare.fault(item.path, fault)

        assert is_cut(await read(proxy.url(item.path)))

        spare.heal()
        assert is_right(await read(proxy.url(item.path)), item)
    assert origin.count(item.path) == 2

"""What one origin fails to give comes from the other one."""

from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.tree import SignedTree, TreeItem
from support.upstream_faults import (
    INDEX,
    LOGIN_PAGE,
    MIB,
    PERSISTENT,
    PRODUCT,
    fault_name,
    impatient_proxy,
    is_cut,
    is_right,
    kept,
    resumed_at,
    with_origins,
)

from proxy.mirror import Mirror


@pytest.mark.parametrize("status", [403, 404])
async def test_another_origin_goes_on_at_once_where_one_refuses_the_rest(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem, status: int
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare), PERSISTENT) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        origin.fault(item.path, Fault(status=status))
        spare.fault(item.path, Fault(cut_after=MIB), times=1)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)
    assert 0 not in resumed_at(spare, item)
    assert sum(request.sent_bytes for request in origin.gets(item.path)) <= MIB + 200
    assert len(origin.gets(item.path)) == 2


@pytest.mark.parametrize(
    "fault",
    [
        Fault(refuse=True),
        Fault(stall_after=0),
        Fault(status=503, headers={"Retry-After": "3600"}),
        Fault(status=403),
        Fault(status=404),
        Fault(truncate_to=MIB),
        Fault(truncate_to=MIB, chunked=True),
        Fault(body=LOGIN_PAGE),
        Fault(redirect_to="http://127.0.0.1:9/"),
        Fault(gzip=True),
    ],
    ids=fault_name,
)
async def test_the_second_origin_helps_out_at_once(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem, fault: Fault
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        origin.fault(item.path, fault)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)
    # aiohttp itself repeats a request whose connection ends before any answer.
    assert origin.count(item.path) == (2 if fault.refuse else 1)
    assert spare.count(item.path) == 1


@pytest.mark.parametrize(
    "fault",
    [Fault(cut_after=2 * MIB), Fault(close_after=2 * MIB), Fault(stall_after=2 * MIB)],
    ids=fault_name,
)
async def test_the_second_origin_goes_on_where_the_first_broke_off(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem, fault: Fault
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        origin.fault(item.path, fault)

        assert is_right(await read(proxy.url(item.path)), item)
    assert origin.count(item.path) == 1
    (resumed,) = resumed_at(spare, item)
    assert 0 < resumed <= 2 * MIB


async def test_an_origin_that_is_down_is_no_obstacle(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    """From the first index on; and it is tried last for a while, not at every request."""
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        await origin.stop()

        assert (await read(proxy.url(INDEX))).status == 200
        assert is_right(await read(proxy.url(item.path)), item)


async def test_an_origin_that_failed_is_tried_last_for_a_while(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, tree: SignedTree
) -> None:
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}") for n in range(5)]
    tree.publish()
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        await read(proxy.url(INDEX))
        origin.fault("*", Fault(status=503))
        origin.clear()

        for item in items:
            assert is_right(await read(proxy.url(item.path)), item)
    assert len(origin.requests) == 1
    assert len([request for request in spare.requests if "file-" in request.path]) == 5


async def test_wrong_bytes_of_one_origin_are_cut_and_not_mixed_with_right_ones(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        origin.fault(item.path, Fault(corrupt_at=5, close_after=2 * MIB))

        assert is_cut(await read(proxy.url(item.path)))
        assert await kept(proxy, item)

        assert is_right(await read(proxy.url(item.path)), item)


async def test_wrong_bytes_of_one_origin_send_the_next_request_to_the_other(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    async with impatient_proxy(tmp_path, with_origins(mirror, origin, spare)) as proxy:
        origin.fault(item.path, Fault(corrupt_at=5))

        assert is_cut(await read(proxy.url(item.path)))

        assert is_right(await read(proxy.url(item.path)), item)
    assert (origin.count(item.path), spare.count(item.path)) == (1, 1)

"""Transfers that break off go on where they stopped, however an origin answers ranges."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.tree import TreeItem
from support.upstream_faults import (
    MIB,
    PERSISTENT,
    SIZE,
    assert_resumed,
    fault_name,
    impatient_proxy,
    is_cut,
    is_right,
    kept,
    resumed_at,
)

from proxy.mirror import Mirror


@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut_after=2 * MIB),
        Fault(close_after=2 * MIB),
        Fault(stall_after=2 * MIB),
        Fault(close_after=2 * MIB, chunked=True),
        Fault(cut_after=2 * MIB, no_etag=True),
    ],
    ids=fault_name,
)
async def test_a_transfer_that_breaks_is_resumed_where_it_stopped(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, fault, times=1)

        reply = await read(proxy.url(item.path))

        assert is_right(reply, item)
        assert await kept(proxy, item)
    assert_resumed(origin, item, within=2 * MIB)
    assert origin.gets(item.path)[1].sent_bytes == SIZE - resumed_at(origin, item)[1]


async def test_a_transfer_may_break_many_times(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """As long as each try brings something, it goes on."""
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(stall_after=400_000, cut_after=400_000))
        origin.fault(item.path, Fault(close_after=500_000))

        reply = await read(proxy.url(item.path))

        assert is_right(reply, item)
    offsets = resumed_at(origin, item)
    assert len(offsets) >= SIZE // 500_000
    assert offsets == sorted(set(offsets))


async def test_an_origin_that_cannot_resume_is_read_from_its_beginning(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """What is here already is skipped; no byte comes twice."""
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(stall_after=MIB), times=1)
        origin.fault(item.path, Fault(ignore_range=True), times=1)

        reply = await read(proxy.url(item.path))

        assert is_right(reply, item)
        assert await kept(proxy, item)
    assert_resumed(origin, item, within=MIB)
    assert [(request.status, request.sent_bytes) for request in origin.gets(item.path)] == [
        (200, MIB),
        (200, SIZE),
    ]


async def test_a_range_that_begins_too_early_is_used_from_where_it_is_needed(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(stall_after=MIB), times=1)
        origin.fault(item.path, Fault(wrong_range=True), times=1)

        assert is_right(await read(proxy.url(item.path)), item)
    assert [request.status for request in origin.gets(item.path)] == [200, 206]


@pytest.mark.parametrize(
    "fault",
    [
        Fault(headers={"Content-Range": f"bytes {2 * MIB}-{SIZE - 1}/{SIZE}"}),
        Fault(headers={"Content-Range": "none"}),
        *(Fault(range_status=status) for status in (204, 400, 401, 405, 416, 501)),
        Fault(total_error=1),
        Fault(total_error=-SIZE + MIB),
        Fault(headers={"Content-Range": f"bytes {SIZE - 1}-{SIZE - 1}/{SIZE}"}),
        Fault(headers={"Content-Range": "bytes */*"}),
        Fault(headers={"Content-Type": "multipart/byteranges; boundary=b"}),
        Fault(range_unit="items"),
        Fault(range_unit="Bytes="),
        Fault(range_slice=True),
        Fault(range_slice=True, chunked=True),
        Fault(range_empty=True),
        Fault(range_empty=True, chunked=True),
    ],
    ids=fault_name,
)
async def test_who_answers_ranges_wrongly_is_asked_for_the_whole(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    """However often: else the part that is here already would keep the item away for ever."""
    async with impatient_proxy(tmp_path, mirror, replace(PERSISTENT, stall_timeout_s=2)) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        origin.fault(item.path, fault)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)
    first, resumed, whole = resumed_at(origin, item)
    assert 0 == first == whole < resumed


@pytest.mark.parametrize(
    "fault",
    [Fault(range_refuse=True), *(Fault(range_status=status) for status in (403, 404, 429, 503))],
    ids=fault_name,
)
async def test_who_hangs_up_on_ranges_or_refuses_the_rest_of_what_it_gave_is_asked_for_the_whole(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    """After further times: once may be an accident, and the whole is dear."""
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        origin.fault(item.path, fault)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)
    first, *resumed, whole = resumed_at(origin, item)
    assert 0 == first == whole < min(resumed) == max(resumed)
    assert len(resumed) >= 2


@pytest.mark.parametrize(
    "fault", [Fault(range_status=403), Fault(range_slice=True), Fault(total_error=5)], ids=fault_name
)
async def test_what_is_left_of_an_earlier_request_does_not_keep_an_item_away(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    """Nobody remembers then that the origin has sent the beginning."""
    async with impatient_proxy(tmp_path, mirror) as proxy:
        origin.fault(item.path, Fault(cut_after=MIB), times=1)
        breaking = origin.fault(item.path, Fault(refuse=True))
        assert is_cut(await read(proxy.url(item.path)))
        await proxy.fills_ended()
        breaking.remove()
        origin.fault(item.path, fault)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)


async def test_a_range_that_lies_about_its_place_is_found_out(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """The bytes are another part than Content-Range says: the digest tells."""
    async with impatient_proxy(tmp_path, mirror, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(stall_after=MIB), times=1)
        lie = {"Content-Range": f"bytes {MIB}-{SIZE - 1}/{SIZE}"}
        origin.fault(item.path, Fault(wrong_range=True, truncate_to=2 * MIB, headers=lie), times=1)

        assert is_cut(await read(proxy.url(item.path)))
        assert not await kept(proxy, item)

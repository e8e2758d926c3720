"""Whatever origins do: clients get the right bytes or a visible end, and nothing wrong is kept."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import Exchange, Reply, read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

MIB = 1024 * 1024
SIZE = 3 * MIB
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"

IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=0.5, give_up_after_s=0.05)
"""Two tries, or one that stalls."""
PERSISTENT = replace(IMPATIENT, give_up_after_s=5)
LOGIN_PAGE = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item of three MiB."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=SIZE)
    tree.publish()
    return item


@pytest.fixture
async def spare(tree: SignedTree) -> AsyncIterator[Origin]:
    """Return a second origin of the same tree."""
    async with Origin(tree.root) as origin:
        yield origin


@asynccontextmanager
async def impatient_proxy(
    tmp_path: Path, mirror: Mirror, options: UpstreamOptions = IMPATIENT, clock: Clock | None = None
) -> AsyncIterator[RunningProxy]:
    """Run a proxy that soon gives up on an origin, unless told otherwise."""
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=options), clock) as proxy:
        yield proxy


def with_origins(mirror: Mirror, *origins: Origin) -> Mirror:
    return replace(mirror, origins=tuple(origin.url for origin in origins))


def is_right(reply: Reply, item: TreeItem) -> bool:
    return reply.status == 200 and reply.is_complete and reply.body == item.read()


def is_cut(reply: Reply) -> bool:
    """Whether the connection ended early: before a status, or in the middle of the body."""
    return reply.status in {0, 200} and not reply.is_complete


async def kept(proxy: RunningProxy, item: TreeItem) -> bool:
    """Whether the store holds the item once no fill is running."""
    await proxy.fills_ended()
    return proxy.store.has(Digest(item.digest))


def resumed_at(origin: Origin, item: TreeItem) -> list[int]:
    """List the offsets that the GETs of an item asked for."""
    ranges = [request.headers.get("Range", "bytes=0-") for request in origin.gets(item.path)]
    offsets = [re.fullmatch(r"bytes=(\d+)-", one) for one in ranges]
    return [int(found[1]) for found in offsets if found]


def assert_resumed(origin: Origin, item: TreeItem, *, within: int, tries: int = 1) -> None:
    """Check that an item was asked from the start, then so often from where it stopped.

    What had arrived when a connection broke may be lost on its way through the HTTP client.
    """
    start, *resumed = resumed_at(origin, item)
    assert start == 0
    assert len(resumed) == tries
    assert all(0 < offset <= within for offset in resumed)


# What passes

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


def add_items_with_faults(
    tree: SignedTree, origin: Origin, faults: Iterable[Fault], times: int | None = None
) -> dict[str, TreeItem]:
    """Publish an item for each fault, and let it happen to that item. Returns them by the faults' names."""
    items: dict[str, TreeItem] = {}
    for fault in faults:
        name = fault_name(fault)
        items[name] = item = tree.add_item(PRODUCT, "20250718", f"file-{len(items)}", size=100_000)
        origin.fault(item.path, fault, times)
    tree.publish()
    return items


def fault_name(fault: Fault) -> str:
    """Name a fault by the fields that are set."""
    changed = (name for name in Fault.__dataclass_fields__ if getattr(fault, name) != getattr(Fault(), name))
    return ",".join(f"{name}={getattr(fault, name)}"[:60] for name in changed)


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "identity, chunked", "gzip, chunked"])
async def test_chunks_are_read_to_the_last_however_they_are_announced(
    proxy: RunningProxy, origin: Origin, item: TreeItem, coding: str
) -> None:
    origin.fault(item.path, Fault(chunked=True, headers={"Transfer-Encoding": coding}))

    assert is_right(await read(proxy.url(item.path)), item)
    assert len(origin.gets(item.path)) == 1


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


# What does not pass

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


@pytest.mark.parametrize("body", [LOGIN_PAGE, b"", b"x" * SIZE], ids=["login page", "empty", "same length"])
async def test_a_page_in_place_of_an_item_is_neither_passed_on_nor_kept(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, body: bytes
) -> None:
    async with impatient_proxy(tmp_path, mirror) as proxy:
        origin.fault(item.path, Fault(body=body))

        replies = await asyncio.gather(*(read(proxy.url(item.path)) for _ in range(3)))

        assert all(is_cut(reply) for reply in replies)
        assert all(len(reply.body) < SIZE for reply in replies)
        assert not await kept(proxy, item)
        assert is_cut(await read(proxy.url(item.path)))
    assert origin.count(item.path) == 1


async def test_a_login_page_in_place_of_the_index_is_not_passed_on(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    """Neither before there is a verified index, nor after."""
    async with impatient_proxy(tmp_path, mirror, clock=clock) as proxy:
        origin.fault("*", Fault(body=LOGIN_PAGE))
        reply = await read(proxy.url(INDEX))
        assert reply.status == 503
        assert b"hotel" not in reply.body

        origin.heal()
        clock.advance(60)
        published = (tree.root / INDEX).read_bytes()
        assert (await read(proxy.url(INDEX))).body == published

        origin.fault("*", Fault(body=LOGIN_PAGE))
        clock.advance(3600)
        await proxy.documents.checks.revalidate()
        assert (await read(proxy.url(INDEX))).body == published
        assert (await read(proxy.url(item.path))).status in {0, 200}


# Absence


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


# Two origins


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


# Encodings


async def test_documents_that_come_compressed_are_served_as_signed(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    origin.fault("streams/*", Fault(gzip=True))

    reply = await read(proxy.url(INDEX))

    assert reply.body == (tree.root / INDEX).read_bytes()
    assert "Content-Encoding" not in reply.headers
    assert is_right(await read(proxy.url(item.path)), item)


async def test_documents_that_claim_to_be_compressed_are_not_guessed_at(
    proxy: RunningProxy, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    tree.publish()
    origin.fault("streams/*", Fault(content_encoding="gzip"))
    assert (await read(proxy.url(INDEX))).status == 503

    origin.heal()
    clock.advance(60)

    assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()


async def test_an_item_that_claims_to_be_compressed_is_taken_by_its_bytes(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """The digest says that they are right, whatever the header says; the claim is not passed on."""
    origin.fault(item.path, Fault(content_encoding="gzip"))

    reply = await read(proxy.url(item.path))

    assert is_right(reply, item)
    assert "Content-Encoding" not in reply.headers


async def test_an_item_that_comes_compressed_is_cut(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """Nobody asked for it: its length and bytes are not those of the list."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", data=b"zero" * 100_000)
    tree.publish()
    origin.fault(item.path, Fault(gzip=True))

    assert is_cut(await read(proxy.url(item.path)))
    assert not await kept(proxy, item)
    assert [request.headers["Accept-Encoding"] for request in origin.gets(item.path)] == ["identity"]

"""Parts of files, conditional requests and HEAD, on items that are held and on items that are not yet."""

import asyncio
import random
from hashlib import sha256

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
KIB = 1024
SIZE = 300_000
INDEX = "streams/v1/index.sjson"

PARTS = {
    "bytes=0-": (0, SIZE),
    "bytes=0-0": (0, 1),
    "bytes=1000-1999": (1000, 2000),
    "bytes=150000-": (150_000, SIZE),
    "bytes=0-149999": (0, 150_000),
    f"bytes={SIZE - 1}-": (SIZE - 1, SIZE),
    f"bytes=5-{SIZE * 9}": (5, SIZE),
    "bytes=-1": (SIZE - 1, SIZE),
    "bytes=-70000": (SIZE - 70_000, SIZE),
    f"bytes=-{SIZE * 9}": (0, SIZE),
    "Bytes=7-8": (7, 9),
}
UNSATISFIABLE = [f"bytes={SIZE}-", f"bytes={SIZE + 1}-{SIZE + 9}", "bytes=-0", "bytes=999999999999999999-"]
NOT_A_RANGE = [
    "bytes=",
    "bytes=-",
    "bytes=9-5",
    "bytes=a-b",
    "bytes=1",
    "bytes=-5-",
    "bytes=0x1-0x2",
    "bytes=1-2-3",
    "items=0-5",
    "0-5",
    "bytes=0-1,4-5",
    "bytes=0-1,",
    "bytes=99999999999999999999999999-",
    "bytes=" + "9" * 4000 + "-",
]


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item(PRODUCT, "20250718", "boot-initrd", size=SIZE)
    tree.publish()
    return item


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_a_part_is_sent_as_such_and_never_as_the_whole(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, is_cold: bool
) -> None:
    """Clients that resume append what they get without looking at the status: a 200 would spoil the file."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=SIZE) for n in range(len(PARTS))]
    tree.publish()
    for item, (header, (start, stop)) in zip(items, PARTS.items(), strict=True):
        if not is_cold:
            await proxy.read(item.path)

        got = await proxy.read(item.path, Range=header)

        assert got.status == 206, header
        assert got.body == item.read()[start:stop], header
        assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
        assert got.headers["Content-Length"] == str(stop - start)
        assert got.headers["ETag"] == f'"{item.digest}"'
        assert origin.count(item.path) == 1


async def test_a_part_beyond_the_end_is_416_and_costs_the_origin_nothing(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    for header in UNSATISFIABLE:
        got = await proxy.read(item.path, Range=header)

        assert (got.status, got.body) == (416, b""), header
        assert got.headers["Content-Range"] == f"bytes */{SIZE}"

    assert origin.count(item.path) == 0


async def test_what_is_no_single_range_gets_the_whole(proxy: RunningProxy, item: TreeItem) -> None:
    for header in NOT_A_RANGE:
        got = await proxy.read(item.path, Range=header)

        assert (got.status, got.body) == (200, item.read()), header
        assert "Content-Range" not in got.headers


async def test_parts_of_a_cold_item_share_one_download(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """Any number of clients, each with a part of its own, and some with the whole."""
    chosen = random.Random(7)
    spans = [sorted(chosen.sample(range(SIZE), 2)) for _ in range(30)] + [[0, SIZE - 1]] * 3

    parts = await asyncio.gather(
        *(proxy.read(item.path, Range=f"bytes={first}-{last}") for first, last in spans)
    )

    data = item.read()
    assert [part.body for part in parts] == [data[first : last + 1] for first, last in spans]
    assert origin.count(item.path) == 1
    assert (await proxy.read(item.path)).cache_status == "hit"


async def test_a_client_resumes_from_a_download_that_is_still_running(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """What has arrived is sent at once, though the origin has stopped for the moment."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=3 * KIB * KIB)
    tree.publish()
    stall = origin.fault(item.path, Fault(stall_after=2 * KIB * KIB), times=1)
    first = asyncio.create_task(proxy.read(item.path))
    await stall.reached.wait()

    async with proxy.get(item.path, headers={"Range": "bytes=1000000-"}) as resumed:
        beginning = await resumed.content.readexactly(100_000)
        stall.remove()
        body = beginning + await resumed.read()

    assert resumed.status == 206
    assert body == item.read()[1_000_000:]
    assert (await first).body == item.read()
    assert origin.count(item.path) == 1


@pytest.mark.parametrize(
    ("header", "length"),
    [("bytes=0-999", 1000), ("bytes=0-149999", 150_000), ("bytes=-1000", 1000), ("bytes=0-", SIZE)],
)
async def test_no_part_of_a_corrupt_item_is_ever_complete(
    proxy: RunningProxy, origin: Origin, item: TreeItem, header: str, length: int
) -> None:
    """The end of a part is held back like the end of the whole, even where the part itself is sound."""
    origin.fault(item.path, Fault(corrupt_at=SIZE - 5))

    async with Wire.to(proxy.base) as wire:
        got = await wire.ask(proxy.url(item.path).raw_path, Range=header)

    assert got.status == 206
    assert not got.is_complete
    assert len(got.body) <= max(0, length - 64 * KIB)


@pytest.mark.parametrize("path", [INDEX, "item"])
async def test_the_entity_tag_is_the_digest_of_the_bytes(
    proxy: RunningProxy, item: TreeItem, path: str
) -> None:
    got = await proxy.read(item.path if path == "item" else path)

    assert got.headers["ETag"] == f'"{sha256(got.body).hexdigest()}"'


@pytest.mark.parametrize("path", [INDEX, "item"])
async def test_a_client_that_has_the_bytes_gets_304(
    proxy: RunningProxy, origin: Origin, item: TreeItem, path: str
) -> None:
    """For an item this needs no byte of it: the signed list tells its digest."""
    path = item.path if path == "item" else path
    tag = (await proxy.read(path, "HEAD")).headers["ETag"]

    async with Wire.to(proxy.base) as wire:
        for form in ("{}", "W/{}", '"other", {}', '"a","b",  W/{}', "*"):
            got = await wire.ask(proxy.url(path).raw_path, If_None_Match=form.format(tag))
            assert (got.status, got.headers["ETag"]) == (304, tag), form
        assert (await wire.ask(proxy.url(INDEX).raw_path)).status == 200

    assert origin.count(item.path) == 0


async def test_a_client_that_has_other_bytes_gets_the_whole(proxy: RunningProxy, item: TreeItem) -> None:
    """A digest without quotes is no entity tag, and a star in quotes no star."""
    for header in ('"other"', item.digest, "", '"*"', "W/"):
        got = await proxy.read(item.path, **{"If-None-Match": header})

        assert (got.status, got.body) == (200, item.read()), header


async def test_304_wins_over_a_range(proxy: RunningProxy, item: TreeItem) -> None:
    got = await proxy.read(item.path, Range="bytes=0-9", **{"If-None-Match": f'"{item.digest}"'})

    assert (got.status, got.body) == (304, b"")


async def test_if_range_gets_the_part_only_of_the_bytes_it_names(proxy: RunningProxy, item: TreeItem) -> None:
    """Comparison is strong, and no date proves that bytes are the same."""
    named = f'"{item.digest}"'
    for condition in (named, f"W/{named}", '"other"', "Wed, 18 Jun 2025 00:00:00 GMT", "nonsense"):
        got = await proxy.read(item.path, Range="bytes=10-19", **{"If-Range": condition})

        status, body = (206, item.read()[10:20]) if condition == named else (200, item.read())
        assert (got.status, got.body) == (status, body), condition


async def test_a_date_is_no_condition(proxy: RunningProxy, item: TreeItem) -> None:
    """Nothing is said about when bytes were modified, so nothing is unmodified since."""
    got = await proxy.read(item.path, **{"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"})

    assert (got.status, got.body) == (200, item.read())
    assert "Last-Modified" not in got.headers


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
@pytest.mark.parametrize("path", [INDEX, "item"])
async def test_head_tells_what_get_would_send(
    proxy: RunningProxy, origin: Origin, item: TreeItem, path: str, is_cold: bool
) -> None:
    """virt-builder asks HEAD before each GET; for an item it costs the origin nothing."""
    path = item.path if path == "item" else path
    if not is_cold:
        await proxy.read(path)
    origin.clear()

    async with Wire.to(proxy.base) as wire:
        head = await wire.ask(proxy.url(path).raw_path, "HEAD")
        asked_by_head = origin.count(item.path)
        got = await wire.ask(proxy.url(path).raw_path)

    assert asked_by_head == 0
    assert head.status == got.status == 200
    told = ("Content-Length", "Content-Type", "ETag", "Accept-Ranges", "Cache-Control")
    assert [head.headers[name] for name in told] == [got.headers[name] for name in told]
    assert int(head.headers["Content-Length"]) == len(got.body)


async def test_head_ignores_a_range(proxy: RunningProxy, item: TreeItem) -> None:
    """Ranges are defined for GET alone (RFC 9110 section 14.2)."""
    got = await proxy.read(item.path, "HEAD", Range="bytes=0-9")

    assert (got.status, got.headers["Content-Length"]) == (200, str(SIZE))


async def test_an_empty_item_is_served_and_has_no_parts(proxy: RunningProxy, tree: SignedTree) -> None:
    item = tree.add_item(PRODUCT, "20250718", "manifest", data=b"")
    tree.publish()

    cold, warm = await proxy.read(item.path), await proxy.read(item.path)
    part, suffix = (
        await proxy.read(item.path, Range="bytes=0-"),
        await proxy.read(item.path, Range="bytes=-5"),
    )

    assert [(got.status, got.body, got.is_complete) for got in (cold, warm)] == [(200, b"", True)] * 2
    assert cold.headers["Content-Length"] == "0"
    assert [got.status for got in (part, suffix)] == [416, 416]


@pytest.mark.usefixtures("item")
async def test_documents_can_be_had_in_parts(proxy: RunningProxy, tree: SignedTree) -> None:
    whole = (tree.root / INDEX).read_bytes()

    got = await proxy.read(INDEX, Range="bytes=10-99")

    assert (got.status, got.body) == (206, whole[10:100])

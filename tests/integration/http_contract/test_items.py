"""What MAAS, LXD and the others need of the proxy: a contract of 22 points, each with a test of its own.

The numbers in the docstrings of this folder are the contract's. Points 8, 20 and 22 fill files of their own:
`test_stray_chunks.py`, `test_tls.py` and `test_as_http_proxy.py`. Where a point has more sides than a
client sees, `test_streaming.py`, `upstream_faults/` and `test_revalidation.py` look at the rest.
"""

import asyncio
import logging
from pathlib import Path

import aiohttp
import pytest
from support.faults import Fault
from support.maas_reader import SIGNED_INDEX
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits

KIB = 1024
MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"


# Items


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_a_plain_get_of_an_item_is_200_with_its_length_and_all_its_bytes(
    proxy: RunningProxy, origin: Origin, item: TreeItem, is_cold: bool
) -> None:
    """5: No 206, no chunks, no redirect, even where the origin sends chunks or redirects."""
    if not is_cold:
        await proxy.read(item.path)
    origin.fault(item.path, Fault(redirect_to=f"{origin.url}{item.path}?again"), times=1)
    origin.fault(item.path, Fault(chunked=True))

    async with Wire.to(proxy.base) as wire:
        got = await wire.ask(MOUNT + item.path)

    assert (got.status, got.body) == (200, item.read())
    assert got.headers["Content-Length"] == str(item.size)
    assert not {"Transfer-Encoding", "Location", "Content-Range", "Content-Encoding"} & set(got.headers)
    assert "charset" not in got.headers["Content-Type"]


@pytest.mark.parametrize(
    "accepted", ["gzip, deflate", "identity", "gzip;q=1.0, *;q=0", "br, zstd, gzip", None]
)
async def test_items_are_never_encoded(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, accepted: str | None
) -> None:
    """6: Whatever the name ends with and whatever the client accepts; upstream is asked for plain bytes."""
    names = [
        "root-image.gz",
        "root-tgz.tar.gz",
        "archive.tar.xz",
        "rootfs.squashfs",
        "disk1.img",
        "image.json",
    ]
    items = [tree.add_item(PRODUCT, "20250718", name, path=f"items/{name}", size=70_000) for name in names]
    tree.publish()
    headers = {} if accepted is None else {"Accept_Encoding": accepted}

    async with Wire.to(proxy.base) as wire:
        for item in items * 2:
            got = await wire.ask(MOUNT + item.path, **headers)
            assert got.body == item.read()
            assert "Content-Encoding" not in got.headers
            assert got.headers["Content-Type"] == "application/octet-stream"

    assert {seen.headers["Accept-Encoding"] for seen in origin.requests} == {"identity"}


async def test_a_false_claim_of_gzip_is_not_passed_on(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """6: MAAS fails on it."""
    origin.fault(item.path, Fault(content_encoding="gzip"))

    async with proxy.session.get(proxy.url(item.path)) as response:
        assert "Content-Encoding" not in response.headers
        assert await response.read() == item.read()


async def test_bytes_keep_coming_while_the_origin_is_slow(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """7: The first byte leaves while most is still upstream, and more follow while upstream is silent."""
    stall = origin.fault(item.path, Fault(stall_after=MIB))

    async with proxy.get(item.path) as response:
        await response.content.readexactly(1)
        await stall.reached.wait()
        for _ in range(3):
            assert await response.content.readany()
        stall.remove()
        await response.content.read()


async def test_every_one_of_many_cold_items_gets_its_first_byte_in_time(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """7, 17: A slow origin, a hundred items: MAAS gives up on any that has no byte after ten seconds."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=200 * KIB) for n in range(100)]
    tree.publish()
    for item in items:
        origin.fault(item.path, Fault(stall_after=100 * KIB))
    patient = UpstreamOptions(stall_timeout_s=60)
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=patient)) as proxy:

        async def first_byte(item: TreeItem) -> None:
            async with proxy.get(item.path) as response:
                await response.content.readexactly(1)

        async with asyncio.timeout(10):
            await asyncio.gather(*map(first_byte, items))


async def test_passing_trouble_upstream_stays_inside(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """9: MAAS 3.8 never repeats a request that got a 5xx, and never resumes: the proxy does both for it."""
    origin.fault(item.path, Fault(status=503), times=1)
    origin.fault(item.path, Fault(cut_after=MIB), times=1)
    origin.fault(item.path, Fault(refuse=True), times=1)

    got = await proxy.read(item.path)

    assert (got.status, got.body) == (200, item.read())
    assert origin.count(item.path) == 4
    assert int(origin.gets(item.path)[-1].headers["Range"].strip("bytes=-")) > 0


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(refuse=True), Fault(status=403)])
async def test_lasting_trouble_upstream_cuts_the_connection_before_any_status(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    """9: MAAS 3.8 repeats a request that was cut, and takes any 4xx or 5xx as final."""
    origin.fault(item.path, fault)
    impatient = UpstreamOptions(stall_timeout_s=0.5, give_up_after_s=0.5)
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=impatient)) as proxy:
        async with Wire.to(proxy.base) as wire:
            await wire.send(request(MOUNT + item.path))
            assert await wire.rest() == b""
        origin.heal()
        assert (await proxy.read(item.path)).body == item.read()


async def test_an_item_that_nothing_is_known_of_yet_is_cut_while_the_origin_is_down(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """9: A region may know the item from an earlier list when the proxy is new and upstream is down."""
    await origin.stop()

    async with Wire.to(proxy.base) as wire:
        with pytest.raises(EOFError):
            await wire.ask(MOUNT + item.path)


@pytest.mark.usefixtures("origin")
async def test_what_is_really_absent_is_404(proxy: RunningProxy, item: TreeItem) -> None:
    """9: Listed, and missing at every origin."""
    item.data_path.unlink()

    assert (await proxy.read(item.path)).status == 404


@pytest.mark.parametrize(
    "fault", [Fault(corrupt_at=0), Fault(corrupt_at=2 * MIB - 1), Fault(truncate_to=MIB)]
)
async def test_wrong_bytes_are_never_completed_and_their_end_is_seen(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, fault: Fault
) -> None:
    """10, 11: The reply is shorter than its Content-Length, by 64 KiB at least, and then the end."""
    origin.fault(item.path, fault)
    config = make_config(tmp_path / "data", mirror, feed=FeedOptions(reserve_bytes=0))
    async with run_proxy(config) as proxy, Wire.to(proxy.base) as wire:
        await wire.send(request(MOUNT + item.path))
        answer = await wire.rest()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert not head or f"Content-Length: {item.size}".encode() in head
    assert len(body) <= item.size - 64 * KIB


async def test_a_client_library_reports_a_reply_cut_short(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """11: An error, not an end."""
    origin.fault(item.path, Fault(corrupt_at=MIB))

    with pytest.raises(aiohttp.ClientPayloadError):
        async with proxy.get(item.path) as response:
            await response.read()


# How an answer was had


async def test_cache_status_tells_hit_miss_join_and_stale(
    proxy: RunningProxy, origin: Origin, item: TreeItem, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """The header is that of RFC 9211; the log says the same in one word."""
    caplog.set_level(logging.INFO, "proxy.access")
    gate = origin.gate(item.path)
    first = asyncio.create_task(proxy.read(item.path))
    await gate.waiting(1)
    joining = asyncio.create_task(proxy.read(item.path))
    await proxy.read(SIGNED_INDEX)
    gate.open()
    replies = [await first, await joining, await proxy.read(item.path)]
    clock.advance(1000)
    replies += [await proxy.read(SIGNED_INDEX), await proxy.read(item.path)]

    assert [reply.headers["Cache-Status"] for reply in replies] == [
        "sstream-proxy; fwd=uri-miss; stored",
        "sstream-proxy; fwd=uri-miss; collapsed",
        "sstream-proxy; hit",
        "sstream-proxy; hit; detail=stale",
        "sstream-proxy; hit",
    ]
    words = [record.getMessage().partition("outcome=")[2].split()[0] for record in caplog.records]
    assert sorted(words) == sorted(["miss", "join", "hit", "hit", "stale", "hit"])


async def test_cache_status_tells_what_could_not_be_stored(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    tiny = StoreLimits(limit_bytes=MIB, min_free_bytes=0)
    async with run_proxy(make_config(tmp_path / "data", mirror, cache=tiny)) as proxy:
        for _ in range(2):
            got = await proxy.read(item.path)
            assert (got.body, got.cache_status) == (item.read(), "fwd=uri-miss; detail=not-stored")


async def test_items_may_be_cached_for_ever_and_lists_only_with_a_check(
    proxy: RunningProxy, item: TreeItem, clock: Clock
) -> None:
    await proxy.read(SIGNED_INDEX)
    clock.advance(42)
    image, index = await proxy.read(item.path), await proxy.read(SIGNED_INDEX)

    assert image.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Age" not in image.headers
    assert (index.headers["Cache-Control"], index.headers["Age"]) == ("no-cache", "42")

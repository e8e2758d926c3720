"""What MAAS, LXD and the others need of the proxy: a contract of 22 points, each with a test of its own.

The numbers in the docstrings are the contract's. Points 8, 20 and 22 fill files of their own:
`test_stray_chunks.py`, `test_tls.py` and `test_as_http_proxy.py`. Where a point has more sides than a
client sees, `test_streaming.py`, `test_upstream_faults.py` and `test_revalidation.py` look at the rest.
"""

import asyncio
import hashlib
import json
import logging
import time
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import aiohttp
import pytest
from support.faults import Fault
from support.fixtures import PRODUCTS_2016_PATH, published_2016
from support.keys import SigningKey
from support.maas import BOOTLOADER_CONTENT_ID, CENTOS_CONTENT_ID, maas_tree
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from support.wire import Wire, request

from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits

KIB = 1024
MIB = 1024 * KIB
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"
SIGNED_INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"
LISTS = [f"streams/v1/{name}" for name in (MAAS_CONTENT_ID, BOOTLOADER_CONTENT_ID, CENTOS_CONTENT_ID)]
MAAS_38_HEADERS = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate"}
MAAS_37_HEADERS = {**MAAS_38_HEADERS, "User-Agent": "maas/3.7.0/1234-g.abc/0b9fd3f2-5c1e-4b5e-uuid"}
FAST_S = 4.0
"""Far more than an answer from memory takes, and less than any client's patience."""


@pytest.fixture
def maas(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Publish what images.maas.io has, at a thousandth of its size."""
    return maas_tree(tmp_path / "upstream", key)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=2 * MIB)
    tree.publish()
    return item


async def read_as_maas(proxy: RunningProxy, base: str, index: str = SIGNED_INDEX) -> dict[str, bytes]:
    """Read what a region reads, in its order: the index, its lists one by one, then all items at once."""
    bodies: dict[str, bytes] = {}

    async def read(path: str) -> bytes:
        async with proxy.session.get(urljoin(base, path), headers=MAAS_38_HEADERS) as response:
            assert (response.status, response.history) == (200, ()), path
            bodies[path] = await response.read()
            return bodies[path]

    lists = [entry["path"] for entry in parsed(await read(index))["index"].values()]
    texts = [parsed(await read(path)) for path in lists]
    async with asyncio.TaskGroup() as group:
        for path in sorted({path for text in texts for path in item_paths(text)}):
            group.create_task(read(path))
    return bodies


def parsed(raw: bytes) -> dict[str, Any]:
    """Read the JSON of a list, clear-signed or not."""
    text = raw.partition(b"\n\n")[2].partition(b"-----BEGIN PGP SIGNATURE")[0] if raw[:1] == b"-" else raw
    return dict(json.loads(text))


def item_paths(products: dict[str, Any]) -> list[str]:
    """List the paths of all items of a products list."""
    versions = [
        version for product in products["products"].values() for version in product["versions"].values()
    ]
    return [item["path"] for version in versions for item in version["items"].values()]


# The tree as it is


@pytest.mark.parametrize("index", [SIGNED_INDEX, PLAIN_INDEX])
async def test_everything_is_served_as_published(
    proxy: RunningProxy, maas: SignedTree, origin: Origin, index: str
) -> None:
    """1, 2: Index, lists and items, each byte for byte, by either index; a second client costs nothing."""
    first = await read_as_maas(proxy, proxy.base + MOUNT, index)
    origin.clear()
    second = await read_as_maas(proxy, proxy.base + MOUNT, index)

    assert first == second
    assert len(first) == 1 + 3 + len(maas.items)
    assert all(body == (maas.root / path).read_bytes() for path, body in first.items())
    assert origin.requests == []


@pytest.mark.parametrize("mount", ["/", "/a/", "/images/ephemeral-v3/stable/", "/_.~+:@,=-/"])
async def test_any_prefix_will_do(
    tmp_path: Path, origin: Origin, keyring: Path, maas: SignedTree, mount: str
) -> None:
    """1: Below whatever path the mirror is mounted."""
    mirror = Mirror(name="m", mount=mount, origins=(origin.url,), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        bodies = await read_as_maas(proxy, proxy.base + mount)

    assert len(bodies) == 1 + 3 + len(maas.items)


async def test_colons_may_be_literal_or_escaped(proxy: RunningProxy, maas: SignedTree) -> None:
    """1: `:`, `%3A` and `%3a` in a path are the same, in any mixture."""
    path = f"{LISTS[0]}.sjson"
    spellings = [path, path.replace(":", "%3A"), path.replace(":", "%3a"), path.replace(":", "%3A", 1)]

    async with Wire.to(proxy.base) as wire:
        bodies = [(await wire.ask(MOUNT + spelling)).body for spelling in spellings]

    assert bodies == [(maas.root / path).read_bytes()] * 4


async def test_what_canonical_signed_in_2016_is_passed_on_unchanged(tmp_path: Path, origin: Origin) -> None:
    """2: With the bundled keyring, which is that of MAAS."""
    published_2016(tmp_path / "upstream")
    mirror = Mirror(name="released", mount="/releases/", origins=(origin.url,))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        for path in (SIGNED_INDEX, PRODUCTS_2016_PATH):
            got = await proxy.read(path)
            assert got.status == 200
            assert got.body == (tmp_path / "upstream" / path).read_bytes()


async def test_detached_signatures_fit_what_they_sign(proxy: RunningProxy, tree: SignedTree) -> None:
    """2: All flavours of a list that upstream has, each as it is there."""
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish(detached=True)
    for stem in ("streams/v1/index", LISTS[0]):
        for suffix in (".sjson", ".json", ".json.gpg"):
            assert (await proxy.read(stem + suffix)).body == (tree.root / (stem + suffix)).read_bytes()


async def test_metadata_names_no_charset_but_utf_8(proxy: RunningProxy, tree: SignedTree) -> None:
    """3: MAAS 3.8 decodes by Content-Type and encodes as UTF-8 again before gpgv sees the text."""
    tree.product(PRODUCT, release_title="24.04 „Numbat“ — été, ünïcode, 日本語, 🐧")
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish(detached=True)
    for path in (SIGNED_INDEX, PLAIN_INDEX, f"{LISTS[0]}.sjson", f"{LISTS[0]}.json", f"{LISTS[0]}.json.gpg"):
        async with proxy.get(path) as response:
            assert response.charset in {None, "utf-8"}
            assert (await response.text()).encode() == (tree.root / path).read_bytes()


# What is not there


@pytest.mark.parametrize("headers", [MAAS_37_HEADERS, {}], ids=["maas", "anybody"])
@pytest.mark.usefixtures("maas")
async def test_unknown_paths_are_absent_at_once(
    proxy: RunningProxy, origin: Origin, headers: dict[str, str]
) -> None:
    """4: 404 while the origin answers nothing at all; no redirect, and no question to it."""
    await proxy.read(SIGNED_INDEX)
    await origin.idle()
    origin.clear()
    origin.gate("*")
    beside = [f"{MOUNT[:-1]}streams/v1/index.sjson", f"{MOUNT[:-1]}streams/v1/index.json", MOUNT[:-1]]
    below = ["streams/v1/index2.sjson", "streams/v1/mirrors.sjson", "streams/v1/no.json.gpg", "no/item", ""]

    for path in [*beside, *(MOUNT + path for path in below), "/ephemeral-v3/stablestreams/v1/index.sjson"]:
        async with asyncio.timeout(FAST_S):
            got = await proxy.read(path, **headers)
        assert got.status == 404, path

    assert origin.requests == []


@pytest.mark.usefixtures("maas")
async def test_a_path_glued_to_the_mount_is_absent_before_anything_is_known(
    proxy: RunningProxy, origin: Origin
) -> None:
    """4, 19: The first request of MAAS up to 3.7, and of sstream-mirror, to a proxy that has just begun."""
    origin.gate("*")
    async with asyncio.timeout(FAST_S):
        got = await proxy.read(f"{MOUNT[:-1]}streams/v1/index.sjson", **MAAS_37_HEADERS)

    assert got.status == 404
    assert origin.requests == []


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


# Metadata


@pytest.mark.parametrize("is_down", [True, False], ids=["down", "silent"])
@pytest.mark.usefixtures("maas")
async def test_a_whole_metadata_pass_is_fast_while_upstream_is_not(
    proxy: RunningProxy, origin: Origin, clock: Clock, is_down: bool
) -> None:
    """12: The last verified lists are served at once, however old, and say that they are stale."""
    fresh = [await proxy.read(path) for path in (SIGNED_INDEX, *(f"{name}.sjson" for name in LISTS))]
    await origin.idle()
    clock.advance(3 * 24 * 3600)
    if is_down:
        await origin.stop()
    else:
        origin.gate("*")

    begun = time.monotonic()
    stale = [await proxy.read(path) for path in (SIGNED_INDEX, *(f"{name}.sjson" for name in LISTS))]

    assert time.monotonic() - begun < FAST_S
    assert [got.body for got in stale] == [got.body for got in fresh]
    assert {got.cache_status for got in stale} == {"hit; detail=stale"}
    assert {int(got.headers["Age"]) for got in stale} == {3 * 24 * 3600}


BROKEN_LISTS = {
    "a login page": Fault(body=b"<!DOCTYPE html><title>Please log in</title>"),
    "nothing": Fault(body=b""),
    "half of it": Fault(truncate_to=500),
    "an error": Fault(status=503),
    "a broken answer": Fault(cut_after=500),
}


@pytest.mark.parametrize("broken", ["index", "products"])
@pytest.mark.usefixtures("maas")
async def test_lists_come_whole_or_not_at_all(
    tmp_path: Path, mirror: Mirror, origin: Origin, broken: str
) -> None:
    """13: Nothing that upstream's trouble makes of a list is ever served with 200."""
    path = SIGNED_INDEX if broken == "index" else f"{LISTS[0]}.sjson"
    for n, (what, fault) in enumerate(BROKEN_LISTS.items()):
        handle = origin.fault(path, fault)
        async with run_proxy(make_config(tmp_path / f"data{n}", mirror)) as proxy:
            got = await proxy.read(path)
            assert got.status in {502, 503}, what
            assert not got.body.startswith((b"<", b"-----BEGIN")), what
        handle.remove()


@pytest.mark.usefixtures("maas")
async def test_lists_stay_as_they_were_when_upstream_breaks_them(proxy: RunningProxy, origin: Origin) -> None:
    """13: The same trouble later on: what was verified before is served on."""
    paths = [SIGNED_INDEX, f"{LISTS[0]}.sjson"]
    before = [(await proxy.read(path)).body for path in paths]
    for fault in BROKEN_LISTS.values():
        handle = origin.fault("streams/*", fault)
        await proxy.documents.checks.revalidate()
        after = [await proxy.read(path) for path in paths]
        assert [(got.status, got.body) for got in after] == [(200, body) for body in before]
        handle.remove()


async def test_a_path_whose_hash_changes_is_fetched_again(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    """14: Its bytes are always those that the products file served now promises."""
    assert (await proxy.read(item.path)).body == item.read()
    changed = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB, seed="changed")
    tree.publish()
    await proxy.documents.checks.revalidate()

    listed = parsed((await proxy.read(f"{LISTS[0]}.sjson")).body)
    got = await proxy.read(item.path)

    assert hashlib.sha256(got.body).hexdigest() == changed.digest
    assert changed.digest in json.dumps(listed)
    assert got.headers["Content-Length"] == str(MIB)
    assert origin.count(item.path) == 2


@pytest.mark.usefixtures("origin")
async def test_what_served_metadata_names_stays_fetchable(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem
) -> None:
    """15: Held items outlive their pruning upstream, for clients that still have the earlier list."""
    await proxy.read(item.path)
    tree.add_item(PRODUCT, "20250808", "squashfs", size=MIB)
    tree.remove_version("20250718")
    tree.publish()
    await proxy.documents.checks.revalidate()

    got = await proxy.read(item.path)

    assert item.path not in json.dumps(parsed((await proxy.read(f"{LISTS[0]}.sjson")).body))
    assert (got.status, hashlib.sha256(got.body).hexdigest()) == (200, item.digest)


# Many clients


async def test_regions_and_their_repetitions_share_one_download(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """16: MAAS starts a second attempt while the first still waits; a region that leaves stops nothing."""
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    leaving = [asyncio.create_task(proxy.read(item.path)) for _ in range(5)]
    await stall.reached.wait()
    staying = [asyncio.create_task(proxy.read(item.path)) for _ in range(5)]
    for task in leaving:
        task.cancel()
    await asyncio.gather(*leaving, return_exceptions=True)
    stall.remove()

    assert {hashlib.sha256((await task).body).hexdigest() for task in staying} == {item.digest}
    assert origin.count(item.path) == 1


async def test_a_hundred_and_fifty_cold_items_at_once_all_arrive(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """17: MAAS runs a hundred downloads per region. A busy machine may let some of them wait for seconds."""
    patient = UpstreamOptions(connect_timeout_s=60, stall_timeout_s=60, give_up_after_s=120)
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=100 * KIB + n) for n in range(150)]
    tree.publish()

    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=patient)) as proxy:
        got = await asyncio.gather(*(proxy.read(item.path) for item in items))

    assert [hashlib.sha256(reply.body).hexdigest() for reply in got] == [item.digest for item in items]
    assert {origin.count(item.path) for item in items} == {1}


@pytest.mark.usefixtures("item")
async def test_any_number_of_small_requests_is_answered(proxy: RunningProxy, origin: Origin) -> None:
    """17: A thousand lists at once, by as many connections, for one question to the origin."""
    got = await asyncio.gather(*(proxy.read(SIGNED_INDEX) for _ in range(1000)))

    assert {reply.status for reply in got} == {200}
    assert len({reply.body for reply in got}) == 1
    assert origin.count(SIGNED_INDEX) <= 2


async def test_lists_read_only_to_their_first_kilobyte_are_served_on(
    proxy: RunningProxy, maas: SignedTree, caplog: pytest.LogCaptureFixture
) -> None:
    """18: MAAS up to 3.7 reads so much to see whether the URL is right, and drops the connection."""
    caplog.set_level(logging.WARNING)
    for _ in range(20):
        async with Wire.to(proxy.base) as wire:
            await wire.send(request(MOUNT + SIGNED_INDEX, **{"User-Agent": "maas/3.7"}))
            await wire.reader.readexactly(KIB)

    assert (await proxy.read(SIGNED_INDEX)).body == (maas.root / SIGNED_INDEX).read_bytes()
    assert caplog.records == []


@pytest.mark.parametrize("url", ["", "/", "/streams/v1/index.sjson", "/streams/v1/index.json"])
async def test_the_url_may_end_with_a_slash_or_without_or_name_the_index(
    proxy: RunningProxy, maas: SignedTree, url: str
) -> None:
    """19: As MAAS up to 3.7 and sstream-mirror read it: a glued path first, the slash after a 404."""
    given = proxy.base + MOUNT[:-1] + url
    stem, found, tail = given.partition("streams/v1/")
    path = found + tail or SIGNED_INDEX
    if (await proxy.session.get(stem + path)).status == 404:
        stem += "/"

    bodies = await read_as_maas(proxy, stem, path)

    assert len(bodies) == 1 + 3 + len(maas.items)


async def test_credentials_are_neither_needed_nor_passed_on(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """21: With none, with those of a URL, with a Site Manager's bearer: the origin sees none of them."""
    target = proxy.url(item.path)
    bearer = {"Authorization": "bearer 0123456789", "Cookie": "a=b"}

    async with proxy.session.get(target.with_user("user").with_password("secret")) as by_url:
        assert (by_url.status, await by_url.read()) == (200, item.read())
    assert (await proxy.read(SIGNED_INDEX, **bearer)).status == 200

    assert origin.requests
    assert not any({"Authorization", "Cookie"} & set(seen.headers) for seen in origin.requests)


# Traps that real clients are known for


async def test_the_deployments_uuid_is_not_told_upstream(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """MAAS puts it into User-Agent; origins learn only that a proxy asks."""
    for path in (SIGNED_INDEX, item.path):
        await proxy.read(
            path, **MAAS_37_HEADERS, **{"X-Forwarded-For": "10.0.0.5", "Referer": "http://a.b/c"}
        )

    agents = {seen.headers["User-Agent"].partition("/")[0] for seen in origin.requests}
    assert agents == {"sstream-proxy"}
    assert not any(
        {"X-Forwarded-For", "Referer", "Forwarded"} & set(seen.headers) for seen in origin.requests
    )


@pytest.mark.usefixtures("maas")
async def test_polls_are_answered_without_asking_upstream_each_time(
    proxy: RunningProxy, origin: Origin, clock: Clock
) -> None:
    """Each MAAS 3.8 region polls four files every ten minutes: upstream sees conditions, and few."""
    paths = (SIGNED_INDEX, *(f"{name}.sjson" for name in LISTS))
    await asyncio.gather(*(proxy.read(path) for path in paths))
    await origin.idle()
    origin.clear()
    for _ in range(10):
        assert {(await proxy.read(path)).status for path in paths} == {200}
    assert origin.requests == []

    clock.advance(600)
    await asyncio.gather(*(proxy.read(path) for path in paths for _ in range(10)))
    await proxy.documents.checks.revalidate()
    await origin.idle()

    assert {seen.status for seen in origin.requests} == {304}
    assert origin.count(SIGNED_INDEX) <= 4


async def test_versions_that_share_bytes_cost_one_download(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """Successive serials often repeat a kernel under a new path."""
    old, new = (
        tree.add_item(PRODUCT, serial, "boot-kernel", size=MIB, seed="kernel")
        for serial in ("20250618", "20250709")
    )
    tree.publish()

    assert (await proxy.read(old.path)).body == (await proxy.read(new.path)).body == new.read()
    assert origin.count(old.path) + origin.count(new.path) == 1


@pytest.mark.usefixtures("maas")
async def test_juju_finds_its_way_by_404(proxy: RunningProxy) -> None:
    """It asks for index2 and for mirrors first, signed and plain, and lives with what there is."""
    tried = [
        f"streams/v1/{name}" for name in ("index2.sjson", "index2.json", "mirrors.sjson", "mirrors.json")
    ]

    statuses = [(await proxy.read(path)).status for path in [*tried, SIGNED_INDEX]]

    assert statuses == [404, 404, 404, 404, 200]


@pytest.mark.usefixtures("maas")
async def test_plain_lists_are_there_for_those_who_want_them(proxy: RunningProxy) -> None:
    """Multipass and LXD: index.json names .json lists, all of which say what the signed ones say."""
    index = parsed((await proxy.read(PLAIN_INDEX)).body)
    paths = [entry["path"] for entry in index["index"].values()]

    assert sorted(paths) == sorted(f"{name}.json" for name in LISTS)
    for path in paths:
        signed = path.removesuffix(".json") + ".sjson"
        assert parsed((await proxy.read(path)).body) == parsed((await proxy.read(signed)).body)


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

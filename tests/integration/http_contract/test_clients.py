"""Many clients at a time, and traps that real ones are known for.

The numbers in the docstrings are the contract's (see `test_items.py`).
"""

import asyncio
import hashlib
import logging
from pathlib import Path

import pytest
from support.faults import Fault
from support.maas_reader import (
    LISTS,
    MAAS_37_HEADERS,
    PLAIN_INDEX,
    SIGNED_INDEX,
    parsed,
    read_as_maas,
)
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

KIB = 1024
MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"


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

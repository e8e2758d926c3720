"""A prefetch that somebody asks for over HTTP: written down, carried out by the keeper, and told of."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.jobs import requested
from proxy.jobs.run_requested import RequestRunner

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
PIN = "prefetch test: ftype=squashfs max=1"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.add_item(PRODUCT, "20250701", "squashfs", size=1000)
    tree.publish()
    return item


async def ask(proxy: RunningProxy, **order: Any) -> tuple[int, dict[str, Any]]:
    url, headers = proxy.base + "/-/api/v1/prefetch", {"X-Sstream-Proxy": "1"}
    async with proxy.session.post(url, json=order, headers=headers) as response:
        return response.status, await response.json()


async def told(proxy: RunningProxy) -> list[dict[str, Any]]:
    async with proxy.get("/-/stats") as response:
        return list((await response.json())["requested"])


@contextlib.asynccontextmanager
async def keeping(proxy: RunningProxy) -> AsyncIterator[None]:
    """Carry out what is asked for, as the keeper does."""
    runner = RequestRunner(proxy.cache, proxy.clock, 4, 0.0, look_every_s=0.01)
    task = asyncio.create_task(runner.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ended(proxy: RunningProxy) -> dict[str, Any]:
    async with asyncio.timeout(30):
        while (one := (await told(proxy))[0])["ended_at"] is None:  # noqa: ASYNC110 - stats tell nobody
            await asyncio.sleep(0.01)
    return one


async def test_what_is_asked_for_is_fetched_and_kept(proxy: RunningProxy, item: TreeItem) -> None:
    """The newest version alone, by the same pin as the command gives it."""
    await proxy.read(INDEX)
    status, done = await ask(proxy, filters=["ftype=squashfs"], max=1)
    assert (status, done["blobs"], done["bytes"], done["pins"]) == (200, 1, 1000, [PIN])
    (waiting,) = await told(proxy)
    assert (waiting["pin"], waiting["ended_at"], waiting["selection"]) == (PIN, None, "ftype=squashfs max=1")
    async with keeping(proxy):
        one = await ended(proxy)
    assert (one["problem"], one["fetched_bytes"]) == ("", 1000)
    assert proxy.store.has(Digest(item.digest))
    pins = proxy.cache.storage.pins
    assert await proxy.cache.storage.threads.ledger(pins.pinned_by, PIN) == {item.digest}
    again = await ask(proxy, filters=["ftype=squashfs"], max=1)
    assert again[1]["text"] == "1 file is here already, and kept from now on"


async def test_what_was_begun_when_the_server_stopped_is_taken_up_again(
    proxy: RunningProxy, item: TreeItem, origin: Origin
) -> None:
    await proxy.read(INDEX)
    gate = origin.gate(item.path)
    await ask(proxy, filters=["ftype=squashfs"], max=1)
    async with keeping(proxy), asyncio.timeout(30):
        await origin.arrived(item.path)
    assert (await told(proxy))[0]["ended_at"] is None
    gate.open()
    async with keeping(proxy):
        assert (await ended(proxy))["problem"] == ""
    assert proxy.store.has(Digest(item.digest))


async def test_why_it_is_not_complete_is_told(proxy: RunningProxy, item: TreeItem, origin: Origin) -> None:
    await proxy.read(INDEX)
    await ask(proxy, filters=["ftype=squashfs"], max=1)
    origin.fault(item.path, Fault(status=404))
    async with keeping(proxy):
        one = await ended(proxy)
    assert "1 item could not be had" in one["problem"]
    assert item.path in one["problem"]


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"filters": ["ftype=nothing"]}, "ftype"),
        ({"rule": "x", "filters": ["ftype=squashfs"]}, "leave the selection out"),
        ({"mirrors": ["nowhere"], "filters": ["ftype=squashfs"]}, "there is no mirror"),
        ({"mirrors": ["test"]}, "say what is to be fetched"),
    ],
)
async def test_what_makes_no_sense_is_refused_at_once(
    proxy: RunningProxy, item: TreeItem, order: dict[str, Any], words: str
) -> None:
    await proxy.read(item.path)
    status, done = await ask(proxy, **order)
    assert status == 400
    assert words in done["problem"]
    assert await told(proxy) == []


async def test_so_many_wait_and_no_more(
    proxy: RunningProxy, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requested, "_MOST_WAITING", 1)
    await proxy.read(item.path)
    assert (await ask(proxy, filters=["ftype=squashfs"]))[0] == 200
    assert (await ask(proxy, filters=["ftype=squashfs"]))[0] == 200
    status, done = await ask(proxy, filters=["ftype=squashfs"], max=1)
    assert (status, done["problem"]) == (400, "1 prefetch is waiting already")

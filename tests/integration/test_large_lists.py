"""The page of a list that takes long to count: it does not wait, says so, and has its rows in the end."""

import asyncio
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.keys import SigningKey
from support.running import RunningProxy
from support.serving import run_service, write_config
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from support.wire import Wire, request

from proxy.documents import reading
from proxy.jobs import choosing_apart
from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
BROWSERS = 20


@pytest.fixture
def item(tree: SignedTree, monkeypatch: pytest.MonkeyPatch) -> TreeItem:
    """Publish a list that counts as a large one."""
    monkeypatch.setattr(reading, "_LARGE_BYTES", 0)
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=100_000, release="noble")
    tree.publish()
    return item


@contextmanager
def counted_elsewhere(data_dir: Path) -> Iterator[None]:
    """Hold what lets a process count, as one that is at it does."""
    descriptor = os.open(data_dir / "listings", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


async def page(proxy: RunningProxy) -> str:
    async with proxy.get("/-/releases") as response:
        assert response.status == 200
        return str(await response.text())


async def counted_page(proxy: RunningProxy) -> str:
    async with asyncio.timeout(20):
        while "still being counted" in (text := await page(proxy)):  # noqa: ASYNC110 - a page tells nobody
            await asyncio.sleep(0.05)
        return text


async def test_a_page_does_not_wait_for_what_is_being_counted(proxy: RunningProxy, item: TreeItem) -> None:
    assert (await proxy.read(item.path)).body == item.read()
    with counted_elsewhere(proxy.config.data_dir):
        async with asyncio.timeout(5):
            texts = await asyncio.gather(*(page(proxy) for _ in range(BROWSERS)))
        assert all("What the lists of test name is not all here" in text for text in texts)
        assert not any("noble" in text.partition('id="images"')[2] for text in texts)
    text = await counted_page(proxy)
    assert "noble" in text.partition('id="images"')[2]


async def test_what_is_here_is_counted_again_whenever_it_costs_little(
    proxy: RunningProxy, item: TreeItem
) -> None:
    await proxy.read(INDEX)
    before = await counted_page(proxy)
    await proxy.read(item.path)
    after = await counted_page(proxy)
    assert "only upstream" in before.partition('id="images"')[2]
    assert "only upstream" not in after.partition('id="images"')[2]


async def test_a_list_that_cannot_be_counted_says_why(
    proxy: RunningProxy, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    await proxy.read(item.path)
    monkeypatch.setattr(reading, "_TIMEOUT_S", 0.001)
    async with asyncio.timeout(20):
        while "a list cannot be counted" not in await page(proxy):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("large_bytes", [0, 2**30], ids=["apart", "here"])
async def test_what_an_order_selects_is_chosen_alike_here_and_apart(
    proxy: RunningProxy, item: TreeItem, monkeypatch: pytest.MonkeyPatch, large_bytes: int
) -> None:
    monkeypatch.setattr(choosing_apart, "_LARGE_BYTES", large_bytes)
    await proxy.read(item.path)

    async def order(action: str, *filters: str) -> tuple[int, dict[str, Any]]:
        url = proxy.base + f"/-/api/v1/{action}"
        headers = {"X-Sstream-Proxy": "1"}
        async with proxy.session.post(url, json={"filters": filters}, headers=headers) as response:
            return response.status, await response.json()

    assert (await order("pin", "release=noble"))[1]["blobs"] == 1
    status, told = await order("evict", "ftype~^squash")
    assert (status, told["blobs"], told["bytes"]) == (200, 0, 0)
    assert told["text"] == "1 is pinned or being read; 0 blobs gone"
    assert (await order("purge", "release=noble"))[1]["bytes"] == item.size
    status, told = await order("pin", "release=nobel")
    assert (status, "noble" in told["problem"]) == (400, True)
    status, told = await order("pin", "path~(a+)+$")
    assert (status, "problem" in told) == (400, True)


async def test_pages_and_orders_of_many_items_cost_a_worker_little_memory(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, key: SigningKey
) -> None:
    """Twenty people look at it at once, and at figures and metrics."""
    tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.publish()
    signed = key.clearsign(_many(120_000))
    tree.write(f"streams/v1/{MAAS_CONTENT_ID}.sjson", signed)
    async with run_service(write_config(tmp_path, mirror)) as service:

        async def ask(target: str) -> bytes:
            async with Wire.to(service.base) as wire:
                reply = await wire.ask(target)
                return reply.body if reply.status == 200 else b""

        async with asyncio.timeout(60):
            while not await ask(mirror.mount + INDEX):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
        (worker,) = service.worker_pids()
        before = _forget_peak(worker)
        async with asyncio.timeout(60):
            texts: list[bytes] = [b""]
            # Until they are counted, and while a busy machine has some refused, there are none.
            while not all(b"noble" in text.partition(b'id="images"')[2] for text in texts):
                texts = await asyncio.gather(*(ask("/-/releases") for _ in range(BROWSERS)))
                await asyncio.gather(*(ask(f"/-/{name}") for name in ("stats", "metrics", "live") * 3))
            headers = {"X_Sstream_Proxy": "1", "Host": "localhost"}
            async with Wire.to(service.base) as wire:
                order = b'{"filters": ["item_name=f7"]}'
                head = request("/-/api/v1/pin", "POST", Content_Length=str(len(order)), **headers)
                await wire.send(head + order)
                pinned = await wire.reply()
        assert (pinned.status, json.loads(pinned.body)["blobs"]) == (200, 1)
        assert _peak_bytes(worker) - before < 50 * 1024 * 1024


def _forget_peak(pid: int) -> int:
    """Let the peak of a process's memory begin anew; return where (proc(5))."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _peak_bytes(pid)


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _many(count: int) -> bytes:
    items = {
        f"f{number}": {
            "ftype": "squashfs",
            "path": f"v/f{number}",
            "sha256": f"{number:064x}",
            "size": number,
        }
        for number in range(1, count + 1)
    }
    products = {"p": {"arch": "amd64", "release": "noble", "versions": {"20250718": {"items": items}}}}
    text = {"content_id": MAAS_CONTENT_ID, "format": "products:1.0", "products": products}
    return json.dumps(text, indent=1).encode()  # gpg breaks very long lines.

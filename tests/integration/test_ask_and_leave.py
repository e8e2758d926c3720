"""Clients that ask for cold items and leave: what they began ends with them, unless it is of use."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


def add_items(tree: SignedTree, count: int, size: int = 4 * KIB) -> list[TreeItem]:
    items = [tree.add_item(PRODUCT, str(number), "squashfs", size=size) for number in range(count)]
    tree.publish()
    return items


@contextlib.asynccontextmanager
async def narrow_proxy(tmp_path: Path, mirror: Mirror, transfers: int) -> AsyncIterator[RunningProxy]:
    """Run a proxy with so many places, whose lists are here."""
    upstream = UpstreamOptions(transfers=transfers, stall_timeout_s=30, give_up_after_s=60)
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=upstream)) as proxy:
        assert (await proxy.read(INDEX)).status == 200
        yield proxy


class Asker:
    """A GET from an address of this machine."""

    def __init__(self, one: socket.socket) -> None:
        self._socket = one

    @classmethod
    async def ask(cls, proxy: RunningProxy, path: str, address: str = "127.0.0.1", more: str = "") -> "Asker":
        loop = asyncio.get_running_loop()
        one = socket.socket()
        one.setblocking(False)
        one.bind((address, 0))
        host, _, port = proxy.base.removeprefix("http://").partition(":")
        await loop.sock_connect(one, (host, int(port)))
        head = f"GET {proxy.url(path).raw_path} HTTP/1.1\r\nHost: a\r\n{more}\r\n"
        await loop.sock_sendall(one, head.encode())
        return cls(one)

    async def answer(self) -> str:
        """Return the first that comes."""
        async with asyncio.timeout(10):
            return (await asyncio.get_running_loop().sock_recv(self._socket, 65536)).decode("latin-1")

    def leave(self) -> None:
        self._socket.close()


async def transfers(proxy: RunningProxy) -> dict[str, int]:
    """Return the figures, as `/-/metrics` has them too."""
    async with proxy.session.get(proxy.url("/-/stats")) as response:
        told: dict[str, int] = (await response.json())["transfers"]
    return told


async def seen(proxy: RunningProxy, **expected: int) -> None:
    """Return once the figures are these."""
    async with asyncio.timeout(20):
        while expected.items() - (await transfers(proxy)).items():  # noqa: ASYNC110 - figures are polled
            await asyncio.sleep(0.02)


def left_behind(proxy: RunningProxy) -> list[Any]:
    """List partial files, and what the ledger has of transfers."""
    ledger = proxy.cache.storage.ledger
    keys = [key for prefix in ("reserved/", "filling/") for key in ledger.keys(prefix)]
    return [*proxy.layout.incoming.iterdir(), *keys]


async def test_what_is_asked_for_and_left_holds_nothing_and_leaves_nothing_behind(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Whether its transfer was running or waiting; of the whole, of a range, or by name only."""
    items = add_items(tree, 12)
    origin.gate("com.ubuntu.maas/*")
    async with narrow_proxy(tmp_path, mirror, 8) as proxy:
        ranged = "Range: bytes=100-\r\n"
        askers = [
            await Asker.ask(proxy, item.path, more=ranged if number % 2 else "")
            for number, item in enumerate(items)
        ]
        await origin.arrived("com.ubuntu.maas/*", 4)
        await seen(proxy, running=4, waiting=8)
        for asker in askers:
            asker.leave()
        await seen(proxy, running=0, waiting=0, let_go=12)
        await proxy.fills_ended()

        assert await asyncio.to_thread(left_behind, proxy) == []
        assert len(origin.gets("com.ubuntu.maas/*")) == 4
        assert not proxy.cache._flights._joinable


async def test_one_client_does_not_take_all_places(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    items = add_items(tree, 20)
    gate = origin.gate("com.ubuntu.maas/*")
    async with narrow_proxy(tmp_path, mirror, 8) as proxy:
        greedy = [await Asker.ask(proxy, item.path) for item in items[:15]]
        await seen(proxy, running=4, waiting=11)
        modest = await Asker.ask(proxy, items[-1].path, "127.0.0.2")
        # It asks for what waits at the turn of the other.
        joined = await Asker.ask(proxy, items[14].path, "127.0.0.2")
        await origin.arrived(items[-1].path)
        await origin.arrived(items[14].path)
        gate.open()
        for one in (modest, joined, *greedy):
            assert (await one.answer()).startswith("HTTP/1.1 200")
            one.leave()
        await proxy.fills_ended()
    assert all(origin.count(item.path) == 1 for item in items[:15])


async def test_when_even_the_queue_is_full_clients_are_told(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    items = add_items(tree, 12)
    gate = origin.gate("com.ubuntu.maas/*")
    async with narrow_proxy(tmp_path, mirror, 4) as proxy:
        askers = [await Asker.ask(proxy, item.path) for item in items[:10]]
        await seen(proxy, running=2, waiting=8)
        late = await Asker.ask(proxy, items[10].path)
        told = await late.answer()
        assert told.startswith("HTTP/1.1 503")
        assert "Retry-After: " in told
        assert "you have 8 transfers waiting already; try again later" in told
        assert (await transfers(proxy))["turned_away"] == 1
        gate.open()
        for asker in askers:
            assert (await asker.answer()).startswith("HTTP/1.1 200")
            asker.leave()
        late.leave()


async def test_a_transfer_that_has_begun_goes_on_without_its_client(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 1, 2 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    async with narrow_proxy(tmp_path, mirror, 8) as proxy:
        async with Exchange(proxy.url(item.path)) as client:
            await client.begin()
            await client.received(500 * KIB)
        await seen(proxy, running=1, let_go=0)
        stall.remove()
        await proxy.fills_ended()
        assert (await proxy.read(item.path)).cache_status == "hit"
    assert origin.count(item.path) == 1


async def test_what_goes_on_without_a_client_makes_room_for_those_who_wait(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """What has arrived of it is kept, and the rest asked for when it is wanted again."""
    items = add_items(tree, 4, 2 * MIB)
    origin.fault("com.ubuntu.maas/*", Fault(stall_after=MIB), times=2)
    async with narrow_proxy(tmp_path, mirror, 4) as proxy:
        kept = await Asker.ask(proxy, items[0].path)
        assert (await kept.answer()).startswith("HTTP/1.1 200")
        async with Exchange(proxy.url(items[1].path)) as client:
            await client.begin()
            await client.received(500 * KIB)

        got = await proxy.read(items[2].path)
        assert (got.status, got.is_complete) == (200, True)
        assert (await transfers(proxy))["let_go"] == 1
        got = await proxy.read(items[1].path)
        assert got.body == items[1].read()
        kept.leave()
    assert "Range" in origin.gets(items[1].path)[1].headers


async def test_a_client_that_asks_again_at_once_finds_its_transfer(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """MAAS hangs up when it has waited for ten seconds, and tries again."""
    (item,) = add_items(tree, 1)
    gate = origin.gate(item.path)
    async with narrow_proxy(tmp_path, mirror, 8) as proxy:
        first = await Asker.ask(proxy, item.path)
        await origin.arrived(item.path)
        first.leave()
        again = asyncio.create_task(proxy.read(item.path))
        await seen(proxy, running=1)
        gate.open()
        assert (await again).body == item.read()
    assert origin.count(item.path) == 1


async def test_who_leaves_is_not_logged_as_a_fault(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, caplog: Any
) -> None:
    (item,) = add_items(tree, 1)
    origin.gate(item.path)
    async with narrow_proxy(tmp_path, mirror, 8) as proxy:
        caplog.clear()
        asker = await Asker.ask(proxy, item.path)
        await origin.arrived(item.path)
        asker.leave()
        await seen(proxy, running=0, let_go=1)
        await proxy.fills_ended()
        assert [record for record in caplog.records if record.levelname not in {"INFO", "DEBUG"}] == []
        async with proxy.session.get(proxy.url("/-/stats")) as response:
            mirror_figures = (await response.json())["mirrors"]["test"]
    assert mirror_figures["aborted"] == 1

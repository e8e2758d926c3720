"""Replies that are ready are counted and logged like others."""

import asyncio
import socket
from pathlib import Path

import pytest
from support.ready_replies import LEARNING, Slow, warm
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import TreeItem
from support.wire import Wire, request

from proxy.counting.client_table import Client, read_clients
from proxy.counting.file_table import read_stories
from proxy.mirror import Mirror


async def test_every_ready_reply_is_counted(proxy: RunningProxy, wire: Wire, item: TreeItem) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    for _ in range(200):
        await wire.send(head)
        assert (await wire.reply()).status == 200
    hot = 200 - slow.times
    await asyncio.sleep(0.1)  # Counts are gathered for a moment.
    async with proxy.get("/-/stats") as response:
        total = (await response.json())["total"]

    assert hot > 150
    assert total["requests"]["hit"] == 200 + LEARNING
    assert total["sent_bytes"]["hit"] == (200 + LEARNING) * item.size


async def test_every_ready_reply_is_its_clients_own(proxy: RunningProxy, wire: Wire, item: TreeItem) -> None:
    """From two addresses by turns, of which one leaves in the middle of the counting."""
    head = request(MOUNT + item.path, User_Agent="maas/3.4")
    await warm(wire, head)
    host, port = proxy.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=("127.0.0.2", 0))
    for _ in range(20):
        writer.write(head)
        received = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(item.size)
        assert b"200 OK" in received
        await wire.send(head)
        await wire.reply("GET")
    writer.close()

    counted: dict[str, Client] = {}
    async with asyncio.timeout(30):
        while sum(one.total for one in counted.values()) < 40 + LEARNING:
            await asyncio.sleep(0.01)
            seen = await asyncio.to_thread(read_clients, proxy.config.data_dir / "stats", proxy.clock())
            counted = {one.address: one for one in seen if one.agent == "maas/3.4"}

    assert counted["127.0.0.2"].requests == {"hit": 20}
    assert counted["127.0.0.2"].hit_bytes == 20 * item.size
    assert counted["127.0.0.1"].path == MOUNT + item.path


async def test_it_is_known_who_asked_for_a_file_by_ready_replies(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    for _ in range(50):
        await wire.send(head)
        await wire.reply()

    await asyncio.sleep(0.1)  # Counts are gathered for a moment.
    stories = await asyncio.to_thread(read_stories, proxy.config.data_dir / "stats", [item.digest])
    told = stories[item.digest]
    assert (list(told.clients), told.requests) == (["127.0.0.1"], 1 + LEARNING + 50)


async def test_ready_replies_over_a_local_socket_are_counted(
    tmp_path: Path,
    mirror: Mirror,
    item: TreeItem,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody there has an address, however they are answered."""
    caplog.set_level("INFO", "proxy.access")
    monkeypatch.chdir(tmp_path)  # The path of a local socket must be short.
    listener = socket.create_server("proxy.sock", family=socket.AF_UNIX)
    async with run_proxy(make_config(tmp_path / "data", mirror), listener=listener) as proxy:
        wire = Wire(*await asyncio.open_unix_connection("proxy.sock"))
        head = request(MOUNT + item.path)
        await warm(wire, head)
        await proxy.fills_ended()
        slow = Slow(proxy)
        for _ in range(20):
            await wire.send(head)
            await wire.reply()
        wire.writer.close()
        await wire.writer.wait_closed()
    assert slow.times < 20
    [client] = await asyncio.to_thread(read_clients, tmp_path / "data" / "stats", proxy.clock())
    assert (client.address, client.total) == ("local", LEARNING + 20)
    lines = [record.getMessage() for record in caplog.records if " method=GET " in record.getMessage()]
    assert len([line for line in lines if line.startswith("request client=local ")]) == LEARNING + 20


async def test_parts_are_counted_by_their_own_size(proxy: RunningProxy, wire: Wire, large: TreeItem) -> None:
    async with proxy.get("/-/stats") as response:
        before = (await response.json())["total"]["sent_bytes"]["hit"]
    for last in range(100):
        await wire.ask(MOUNT + large.path, Range=f"bytes=0-{last}")
    await asyncio.sleep(0.1)  # Counts are gathered for a moment.
    async with proxy.get("/-/stats") as response:
        total = (await response.json())["total"]
    assert total["sent_bytes"]["hit"] - before == sum(range(1, 101))


async def test_ready_replies_are_logged_like_others(
    wire: Wire, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "proxy.access")
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await wire.send(head)
    await wire.reply()
    lines = [record.getMessage() for record in caplog.records if "boot-kernel" in record.getMessage()]

    def without_time(line: str) -> list[str]:
        return [word for word in line.split() if not word.startswith(("seconds=", "id="))]

    assert len(lines) == LEARNING + 1
    assert len({line.partition(" id=")[2] for line in lines}) == len(lines)
    assert without_time(lines[-1]) == without_time(lines[0])

"""A folder in place of a server: served, prefetched and verified alike, and fail-over either way."""

import asyncio
import errno
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from support.commands import Commands, events
from support.exchange import read
from support.failing_disk import FailingDisk, small_file_system
from support.faults import Fault
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.workers import run_workers

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
MIB = 1024 * 1024
SIZE = 3 * MIB
OPTIONS = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=2, give_up_after_s=1)

Start = Callable[..., AbstractAsyncContextManager[RunningProxy]]


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=SIZE)
    tree.publish(detached=True)
    return item


@pytest.fixture
def url(tree: SignedTree) -> str:
    """Return the folder of the tree as an origin."""
    return tree.root.as_uri() + "/"


@pytest.fixture
def start(tmp_path: Path, keyring: Path, clock: Clock) -> Start:
    """Return how to start a proxy with such origins."""

    @asynccontextmanager
    async def start(*origins: str, **changes: Any) -> AsyncIterator[RunningProxy]:
        mirror = Mirror(name="test", mount=MOUNT, origins=origins, keyring=str(keyring))
        config = make_config(tmp_path / "data", mirror, **({"upstream": OPTIONS} | changes))
        async with run_proxy(config, clock) as proxy:
            yield proxy

    return start


async def told(proxy: RunningProxy, origin: str) -> dict[str, Any]:
    """Return what the figures say of an origin."""
    async with proxy.get("/-/stats") as response:
        found: dict[str, Any] = (await response.json())["origins"][origin]
        return found


async def fetched_bytes(proxy: RunningProxy) -> int:
    async with proxy.get("/-/stats") as response:
        return int((await response.json())["mirrors"]["test"]["fetched_bytes"])


def altered(item: TreeItem, at: int) -> None:
    """Change one byte of an item's file."""
    data = bytearray(item.read())
    data[at] ^= 1
    item.data_path.write_bytes(data)


# Served and verified


async def test_a_signed_tree_in_a_folder_is_served_whole(
    start: Start, url: str, tree: SignedTree, item: TreeItem
) -> None:
    async with start(url) as proxy:
        for path in (INDEX, LIST, "streams/v1/index.json", "streams/v1/index.json.gpg"):
            assert (await read(proxy.url(path))).body == (tree.root / path).read_bytes()
        cold = await read(proxy.url(item.path))
        assert (cold.status, cold.is_complete, cold.body) == (200, True, item.read())
        await proxy.fills_ended()
        assert proxy.store.problem(Digest(item.digest), item.size, deep=True) is None
        part = await read(proxy.url(item.path), Range="bytes=1000-1999")
        assert (part.status, part.body, part.cache_status) == (206, item.read()[1000:2000], "hit")
        figures = await told(proxy, url)
        assert figures["wrong_copies"] == 0
        assert figures["last_hour"]["error"] == 0
        assert (await read(proxy.url("no/such/item"))).status == 404


async def test_what_is_unchanged_is_not_read_again(
    start: Start, url: str, tree: SignedTree, item: TreeItem, clock: Clock
) -> None:
    async with start(url) as proxy:
        clock.advance(60)  # The files have not been written just now.
        await read(proxy.url(INDEX))
        before = await fetched_bytes(proxy)
        clock.advance(400)
        await proxy.documents.checks.revalidate()
        assert await fetched_bytes(proxy) == before
        tree.add_item(PRODUCT, "20250801", "squashfs")
        tree.publish()
        clock.advance(400)
        await proxy.documents.checks.revalidate()
        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
    assert item.size == SIZE


async def test_a_tree_with_detached_signatures_alone_is_verified(
    start: Start, url: str, tree: SignedTree, item: TreeItem
) -> None:
    for path in (INDEX, LIST):
        (tree.root / path).unlink()
    async with start(url) as proxy:
        assert (await read(proxy.url("streams/v1/index.json"))).status == 200
        assert (await read(proxy.url(item.path))).body == item.read()


# Wrong files are refused


@pytest.mark.parametrize("at", [5, SIZE - 5])
async def test_an_altered_item_is_refused_and_the_folder_named(
    start: Start, url: str, item: TreeItem, caplog: pytest.LogCaptureFixture, at: int
) -> None:
    altered(item, at)
    with caplog.at_level(logging.WARNING):
        async with start(url) as proxy:
            reply = await read(proxy.url(item.path))
            assert not reply.is_complete
            await proxy.fills_ended()
            assert not proxy.store.has(Digest(item.digest))
            figures = await told(proxy, url)
    assert figures["wrong_copies"] == 1
    assert figures["distrusted_until"] is not None
    assert f"origin={url}" in caplog.text


@pytest.mark.parametrize("size", [0, SIZE - 1, SIZE + 1])
async def test_an_item_of_another_size_is_refused(start: Start, url: str, item: TreeItem, size: int) -> None:
    item.data_path.write_bytes((item.read() + b"?")[:size])
    async with start(url) as proxy:
        reply = await read(proxy.url(item.path))
        assert not reply.is_complete
        await proxy.fills_ended()
        assert not proxy.store.has(Digest(item.digest))
        problem = (await told(proxy, url))["last_wrong"]["problem"]
    assert f"its copy has {size} bytes, the list says {SIZE}" in problem


async def test_documents_with_a_bad_signature_or_of_another_key_are_refused(
    start: Start, url: str, tree: SignedTree, item: TreeItem
) -> None:
    good = (tree.root / INDEX).read_bytes()
    with SigningKey() as other:
        strange = SignedTree(tree.root.parent / "strange", other)
        strange.add_item(PRODUCT, "20250718", "squashfs", size=10)
        strange.publish()
    for data in (good.replace(b"products", b"prodigal"), (strange.root / INDEX).read_bytes(), b"junk"):
        (tree.root / INDEX).write_bytes(data)
        async with start(url) as proxy:
            reply = await read(proxy.url(INDEX))
            assert reply.status == 503
            assert b"refused" in reply.body
            assert (await read(proxy.url(item.path))).body == b""


async def test_a_link_out_of_the_tree_gives_nothing_away(start: Start, url: str, item: TreeItem) -> None:
    """Though the bytes are right: what is outside is not the tree's."""
    outside = item.data_path.parents[len(Path(item.path).parts)] / "outside"
    item.data_path.rename(outside)
    item.data_path.symlink_to(outside)
    async with start(url) as proxy:
        assert (await read(proxy.url(item.path))).status == 404


# Disks that come and go; fail-over


async def test_a_disk_that_is_not_mounted_yet_is_told_of_and_served_once_it_is(
    start: Start, url: str, tree: SignedTree, item: TreeItem, clock: Clock
) -> None:
    """The server starts without it, and nobody restarts it."""
    elsewhere = tree.root.with_name("elsewhere")
    tree.root.rename(elsewhere)
    async with start(url) as proxy:
        reply = await read(proxy.url(INDEX))
        assert reply.status == 503
        assert b"there is no such folder: is its disk mounted?" in reply.body
        elsewhere.rename(tree.root)
        clock.advance(60)
        assert (await read(proxy.url(INDEX))).status == 200
        assert (await read(proxy.url(item.path))).body == item.read()


async def test_what_was_accepted_is_served_when_the_disk_is_gone(
    start: Start, url: str, tree: SignedTree, item: TreeItem, clock: Clock
) -> None:
    index = (tree.root / INDEX).read_bytes()
    data = item.read()
    async with start(url) as proxy:
        assert (await read(proxy.url(item.path))).body == data
        await proxy.fills_ended()
        await asyncio.to_thread(tree.root.rename, tree.root.with_name("unplugged"))
        clock.advance(400)
        await proxy.documents.checks.revalidate()
        assert (await read(proxy.url(INDEX))).body == index
        assert (await read(proxy.url(item.path))).body == data
        status = (await proxy.cache.status())["test"]
        assert "is its disk mounted?" in status["last_problem"]


async def test_a_disk_can_be_unmounted_at_any_time_and_mounted_again(
    tmp_path: Path, start: Start, key: SigningKey, clock: Clock
) -> None:
    """The system says that it is busy while anything of it is open."""
    place = tmp_path / "media"
    with small_file_system(place, "20m") as is_mounted:
        if not is_mounted:
            pytest.skip("nothing can be mounted here")
        tree = SignedTree(place, key)
        item = tree.add_item(PRODUCT, "20250718", "squashfs", size=MIB)
        tree.publish()
        data = item.read()
        async with start(place.as_uri() + "/") as proxy:
            assert (await read(proxy.url(item.path))).body == data
            await proxy.fills_ended()
            unmounting = await asyncio.create_subprocess_exec("umount", str(place))
            assert await unmounting.wait() == 0
            clock.advance(400)
            await proxy.documents.checks.revalidate()
            problem = (await proxy.cache.status())["test"]["last_problem"]
            assert "there is no streams/v1/ in it: is its disk mounted?" in problem
            assert (await read(proxy.url(item.path))).body == data
            mounting = await asyncio.create_subprocess_exec("mount", "-t", "tmpfs", "tmpfs", str(place))
            assert await mounting.wait() == 0
            other = SignedTree(place, key)
            newer = other.add_item(PRODUCT, "20250801", "squashfs", size=MIB)
            other.publish(updated=tree.updated_s + 10)
            clock.advance(400)
            await proxy.documents.checks.revalidate()
            assert (await read(proxy.url(newer.path))).body == newer.read()


@pytest.mark.parametrize("is_folder_first", [True, False])
async def test_either_kind_makes_up_for_the_other(
    start: Start, tree: SignedTree, item: TreeItem, origin: Origin, url: str, is_folder_first: bool
) -> None:
    """An altered copy in the folder; a server that is down, or that breaks off."""
    small = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=60_000)
    tree.publish()
    copy = tree.root.with_name("copy")
    await asyncio.create_subprocess_exec("cp", "-a", str(tree.root), str(copy))
    await until(lambda: (copy / INDEX).exists() and (copy / small.path).exists())
    folder = copy.as_uri() + "/"
    origins = (folder, origin.url) if is_folder_first else (origin.url, folder)
    async with start(*origins) as proxy:
        assert (await read(proxy.url(INDEX))).status == 200
        if is_folder_first:
            (copy / small.path).write_bytes(bytes(small.size))
            assert (await read(proxy.url(small.path))).body == small.read()
            assert origin.count(small.path) == 1
            assert (await told(proxy, folder))["wrong_copies"] == 1
        else:
            origin.fault(item.path, Fault(close_after=MIB))
            reply = await read(proxy.url(item.path))
            assert (reply.is_complete, reply.body) == (True, item.read())
            await origin.stop()
            assert (await read(proxy.url(small.path))).body == small.read()
    assert url != folder


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():  # noqa: ASYNC110 - the event is in another program
            await asyncio.sleep(0.01)


async def test_lists_come_from_the_server_while_the_disk_is_away(
    start: Start, item: TreeItem, origin: Origin, tmp_path: Path
) -> None:
    async with start((tmp_path / "unplugged").as_uri() + "/", origin.url) as proxy:
        assert (await read(proxy.url(INDEX))).status == 200
        assert (await read(proxy.url(item.path))).body == item.read()


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="there is no compiler")
async def test_a_disk_that_fails_midway_is_made_up_for_by_the_next_origin(
    tmp_path: Path, tree: SignedTree, item: TreeItem, origin: Origin, mirror: Mirror, url: str
) -> None:
    """Input/output errors after the third read of the item: the rest is fetched, from that byte on."""
    disk = FailingDisk(tmp_path)
    both = replace(mirror, origins=(url, origin.url))
    async with run_workers(tmp_path, both, 1, env=disk.env) as workers:
        assert (await read(workers.url(INDEX))).status == 200
        with disk.failing(f"read {tree.root}/{item.path} {errno.EIO} 3"):
            reply = await read(workers.url(item.path))
        assert (reply.is_complete, reply.body) == (True, item.read())
    (resumed,) = origin.gets(item.path)
    assert resumed.headers["Range"] == f"bytes={3 * 512 * 1024}-"


# Offline, limits, commands


async def test_offline_asks_no_folder_either(
    start: Start, url: str, tree: SignedTree, item: TreeItem
) -> None:
    """What is served offline is what the store has; then nothing depends on a disk that may go."""
    async with start(url) as proxy:
        await read(proxy.url(INDEX))
    async with start(url, offline=True) as proxy:
        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
        assert (await read(proxy.url(item.path))).status == 504


async def test_a_prefetch_keeps_to_its_bandwidth(
    tmp_path: Path, tree: SignedTree, item: TreeItem, url: str, keyring: Path
) -> None:
    commands = folder_commands(tmp_path, url, keyring, '[upstream]\nbackground_limit = "2 MiB"\n')
    began = time.monotonic()
    done = await commands.run("prefetch", "--json")
    assert done.returncode == 0, done.stderr
    assert await commands.held([item]) == [item]
    assert time.monotonic() - began > 1
    assert tree.items == [item]


@dataclass(frozen=True)
class Folder:
    """An origin that needs no server."""

    url: str


def folder_commands(folder: Path, url: str, keyring: Path, settings: str = "") -> Commands:
    return Commands(folder, Folder(url), keyring, settings)


async def test_a_folder_is_prefetched_and_proved_ready_without_it(
    tmp_path: Path, key: SigningKey, keyring: Path
) -> None:
    tree = maas_tree(tmp_path / "iso", key, releases=("24.04",), arches=("amd64",))
    url = tree.root.as_uri() + "/"
    commands = folder_commands(tmp_path, url, keyring)
    selection = ("--maas", "noble", "--arch", "amd64")

    assert (await commands.run("ready", *selection)).returncode == 1
    done = await commands.run("prefetch", *selection, "--json")
    assert done.returncode == 0, done.stderr
    assert events(done)["summary"]["fetched_bytes"] > 0
    await asyncio.to_thread(tree.root.rename, tmp_path / "ejected")
    assert (await commands.run("ready", *selection)).returncode == 0
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    assert stats["mirrors"]["maas"]["fetched_bytes"] >= events(done)["summary"]["fetched_bytes"]
    assert stats["origins"][url]["wrong_copies"] == 0

"""What a restart, damage and a failing disk leave of the store, and that clients are served all the same."""

import asyncio
import errno
import fcntl
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from support.exchange import Exchange, read
from support.faults import Fault
from support.limited_store import add_items, fetch, in_ledger, is_right, limited, stored
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.store.ledger import Ledger

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
NOT_STORED = "fwd=uri-miss; detail=not-stored"


def blob(proxy: RunningProxy, item: TreeItem) -> Path:
    return proxy.layout.path(Digest(item.digest))


# Restarts


async def test_a_partial_download_is_resumed_after_a_restart(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 4 * MIB)
    config = make_config(tmp_path / "data", mirror, feed=FeedOptions(reserve_bytes=0))
    origin.fault(item.path, Fault(stall_after=2 * MIB))
    async with run_proxy(config) as proxy, Exchange(proxy.url(item.path)) as exchange:
        await exchange.begin()
        await exchange.received(2 * MIB)
    partial = config.data_dir / "incoming" / item.digest
    assert partial.stat().st_size == 2 * MIB
    origin.heal()
    origin.clear()

    async with run_proxy(config) as proxy:
        await fetch(proxy, item)
        assert stored(proxy, item) == [True]

    (request,) = origin.gets(item.path)
    assert request.headers["Range"] == f"bytes={2 * MIB}-"
    assert not partial.exists()


@pytest.mark.parametrize(
    "rubbish", [b"x" * MIB, b"x" * 3 * MIB], ids=["in its middle", "longer than the item"]
)
async def test_a_partial_file_of_wrong_bytes_does_no_lasting_harm(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, rubbish: bytes
) -> None:
    """Nobody knows whose fault they are: the origin is not blamed, and asked again from the start."""
    (item,) = add_items(tree, 2 * MIB)
    config = make_config(tmp_path / "data", mirror)
    partial = config.data_dir / "incoming" / item.digest
    partial.parent.mkdir(parents=True)
    partial.write_bytes(rubbish)
    async with run_proxy(config) as proxy:
        if len(rubbish) < item.size:
            reply = await read(proxy.url(item.path))
            assert not reply.is_complete
            await proxy.fills_ended()
            assert not partial.exists()
        await fetch(proxy, item)

        assert stored(proxy, item) == [True]
    assert "Range" not in origin.gets(item.path)[-1].headers


async def test_a_whole_partial_file_is_proved_and_kept_without_asking_upstream(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """As after a crash between the last byte and the commit."""
    (item,) = add_items(tree, MIB)
    config = make_config(tmp_path / "data", mirror)
    partial = config.data_dir / "incoming" / item.digest
    partial.parent.mkdir(parents=True)
    partial.write_bytes(item.read())
    partial.chmod(0o444)
    async with run_proxy(config) as proxy:
        await fetch(proxy, item)

        assert stored(proxy, item) == [True]
    assert origin.count(item.path) == 0


# Damage


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data + b"x", lambda _: b""])
async def test_a_blob_of_the_wrong_size_is_set_aside_and_fetched_again(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, damage: Callable[[bytes], bytes]
) -> None:
    (item,) = add_items(tree, MIB)
    await fetch(proxy, item)
    damaged = damage(item.read())
    blob(proxy, item).unlink()
    blob(proxy, item).write_bytes(damaged)

    assert (await fetch(proxy, item)).cache_status == "fwd=uri-miss; stored"

    assert (proxy.layout.quarantine / item.digest).read_bytes() == damaged
    assert (await fetch(proxy, item)).cache_status == "hit"
    assert origin.count(item.path) == 2


async def test_a_blob_that_vanished_is_fetched_again(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, MIB)
    await fetch(proxy, item)
    blob(proxy, item).unlink()

    assert (await fetch(proxy, item)).cache_status == "fwd=uri-miss; stored"
    assert origin.count(item.path) == 2


def break_incoming(proxy: RunningProxy) -> None:
    """Put a file in the place of the directory for partial files."""
    shutil.rmtree(proxy.layout.incoming)
    proxy.layout.incoming.write_text("in the way\n")


def break_blobs(proxy: RunningProxy) -> None:
    """Put a file in the place of the directory for blobs."""
    blobs = proxy.layout.root / "blobs" / "sha256"
    blobs.rename(blobs.with_name("moved"))
    blobs.write_text("in the way\n")


def break_ledger(proxy: RunningProxy) -> None:
    """Leave SQLite nothing that it could use."""
    for database in (proxy.layout.root / "ledger").rglob("cache.db*"):
        database.write_bytes(b"this is no database\n" * 4096)


@pytest.mark.parametrize("break_it", [break_incoming, break_blobs, break_ledger])
async def test_clients_get_verified_bytes_while_the_disk_fails(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, break_it: Callable[[RunningProxy], None]
) -> None:
    """Neither an error nor a 404: the bytes pass through."""
    held, new, wrong = add_items(tree, MIB, 3 * MIB, MIB)
    await fetch(proxy, held)
    await in_ledger(proxy, partial(Ledger.write, key=f"reserved/{'0' * 64}", value=1))
    await asyncio.to_thread(break_it, proxy)

    replies = await asyncio.gather(*(read(proxy.url(item.path)) for item in (held, new, new, new)))

    assert all(is_right(reply, item) for reply, item in zip(replies, (held, new, new, new), strict=True))
    origin.fault(wrong.path, Fault(corrupt_at=0))
    refused = await read(proxy.url(wrong.path))
    assert refused.status in {0, 200}
    assert not refused.is_complete


async def test_a_file_system_that_cannot_tell_its_free_space_costs_the_store_not_the_clients(
    proxy: RunningProxy, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = add_items(tree, MIB)

    def fail() -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(proxy.store, "free_bytes", fail)

    reply = await read(proxy.url(item.path))

    assert (is_right(reply, item), reply.cache_status) == (True, NOT_STORED)


async def test_a_commit_that_fails_is_not_seen_by_readers(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """The end was proved, so it is sent; the item is fetched again the next time."""
    (item,) = add_items(tree, 3 * MIB)
    stall = origin.fault(item.path, Fault(stall_after=MIB))
    async with Exchange(proxy.url(item.path)) as exchange:
        await exchange.begin()
        await exchange.received(1)
        await asyncio.to_thread(break_blobs, proxy)
        stall.remove()

        assert is_right(await exchange.rest(), item)
    assert is_right(await read(proxy.url(item.path)), item)


async def test_a_reservation_that_makes_no_sense_is_none(proxy: RunningProxy, tree: SignedTree) -> None:
    (item,) = add_items(tree, MIB)
    for digest in ("0" * 64, item.digest):
        await in_ledger(proxy, partial(Ledger.write, key=f"reserved/{digest}", value=["rubbish"]))

    assert (await read(proxy.url(item.path))).cache_status == "fwd=uri-miss; stored"


async def test_notes_of_fills_that_make_no_sense_are_none(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    old, new = add_items(tree, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB // 2)) as proxy:
        await fetch(proxy, old)
        for number, note in enumerate((5, [], ["a", 1, 1, 1.0, [1]], ["a", -1, 1, 1.0, [1, 1]])):
            await in_ledger(proxy, partial(Ledger.write, key=f"filling/{number:064}", value=note))

        assert (await fetch(proxy, new)).cache_status == "fwd=uri-miss; stored"
        assert stored(proxy, old, new) == [False, True]


async def test_a_fill_that_fails_for_an_unforeseen_reason_leaves_nobody_waiting(
    proxy: RunningProxy, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    (item,) = add_items(tree, MIB)
    monkeypatch.setattr(proxy.cache.storage.room, "reserve", None)

    async with asyncio.timeout(20):
        assert is_right(await read(proxy.url(item.path)), item)


async def test_a_start_removes_the_drafts_of_dead_processes_only(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """A worker that is replaced must not take away what the others are writing."""
    add_items(tree, 1000)
    incoming = tmp_path / "data" / "incoming"
    incoming.mkdir(parents=True)
    dead, living = incoming / "put-dead", incoming / "put-living"
    dead.touch()
    with living.open("wb") as draft:
        fcntl.flock(draft, fcntl.LOCK_EX)
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            storage = proxy.cache.storage
            await storage.threads.slow(storage.reconciliation.reconcile)

        assert (dead.exists(), living.exists()) == (False, True)


@contextmanager
def disk_full_beyond(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond a size: to who writes it, the disk is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_disk_that_fills_up_in_the_middle_of_a_fill_is_not_seen_by_its_readers(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """They go on past the store; what was written is given back; with room again, it is stored."""
    (item,) = add_items(tree, 4 * MIB)
    await read(proxy.url(INDEX))
    stall = origin.fault(item.path, Fault(stall_after=MIB), times=1)
    with disk_full_beyond(2 * MIB):
        part = asyncio.create_task(read(proxy.url(item.path), Range="bytes=500000-"))
        whole = asyncio.create_task(read(proxy.url(item.path)))
        await stall.reached.wait()
        stall.remove()

        assert is_right(await whole, item)
        assert (await part).body == item.read()[500_000:]
        await proxy.fills_ended()
        assert stored(proxy, item) == [False]
        assert not list(proxy.layout.incoming.iterdir())

    assert (await fetch(proxy, item)).cache_status == "fwd=uri-miss; stored"
    assert stored(proxy, item) == [True]


async def test_wrong_bytes_before_the_disk_filled_up_are_not_completed_with_right_ones(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """What the proof is about must be what the client got, from its first byte on."""
    (item,) = add_items(tree, 4 * MIB)
    await read(proxy.url(INDEX))
    stall = origin.fault(item.path, Fault(corrupt_at=5, stall_after=MIB), times=1)
    with disk_full_beyond(2 * MIB):
        async with Exchange(proxy.url(item.path)) as exchange:
            await exchange.begin()
            await exchange.received(MIB // 2)
            stall.remove()
            reply = await exchange.rest()

    assert origin.count(item.path) == 2
    assert not reply.is_complete

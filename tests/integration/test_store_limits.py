"""What the store holds, for how long, and that clients are served when it can hold nothing."""

import asyncio
import errno
import fcntl
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from support.exchange import Exchange, Reply, read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.config.config import Config
from proxy.digest import Digest
from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.pins import Pins

KIB = 1024
MIB = 1024 * KIB
INDEX = "streams/v1/index.sjson"
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
NOT_STORED = "fwd=uri-miss; detail=not-stored"


def add_items(tree: SignedTree, *sizes: int) -> list[TreeItem]:
    """Publish items of these sizes."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=size) for n, size in enumerate(sizes)]
    tree.publish()
    return items


def limited(tmp_path: Path, mirror: Mirror, limit_bytes: int) -> Config:
    """Return a configuration whose store takes so much besides the documents of these tests."""
    documents = sum(path.stat().st_size for path in (tmp_path / "upstream/streams").rglob("*.sjson"))
    limits = StoreLimits(limit_bytes=limit_bytes + 2 * documents, min_free_bytes=0)
    return make_config(tmp_path / "data", mirror, cache=limits)


def is_right(reply: Reply, item: TreeItem) -> bool:
    return reply.status == 200 and reply.is_complete and reply.body == item.read()


async def fetch(proxy: RunningProxy, item: TreeItem) -> Reply:
    """Read an item, and wait until the store has settled."""
    reply = await read(proxy.url(item.path))
    assert is_right(reply, item)
    await proxy.fills_ended()
    return reply


def stored(proxy: RunningProxy, *items: TreeItem) -> list[bool]:
    return [proxy.store.has(Digest(item.digest)) for item in items]


async def in_ledger(proxy: RunningProxy, use: Callable[[Ledger], object]) -> object:
    """Use the ledger where its connections belong."""
    notes = proxy.cache.delivery._usage
    await notes.flush()
    return await notes._threads.ledger(use, proxy.cache.storage.ledger)


def blob(proxy: RunningProxy, item: TreeItem) -> Path:
    return proxy.layout.path(Digest(item.digest))


# One digest, many names


async def test_the_same_bytes_under_several_paths_are_fetched_once(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """As when a new serial repeats the kernel of the last one."""
    old = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=MIB, seed="kernel")
    new = tree.add_item(PRODUCT, "20250801", "boot-kernel", size=MIB, seed="kernel")
    tree.publish()

    first, second = await fetch(proxy, old), await fetch(proxy, new)

    assert old.path != new.path
    assert (first.cache_status, second.cache_status) == ("fwd=uri-miss; stored", "hit")
    assert origin.count("com.ubuntu.maas/*") == 1


async def test_the_same_bytes_asked_by_two_paths_at_once_are_fetched_once(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    items = [tree.add_item(PRODUCT, serial, "boot-kernel", size=MIB, seed=1) for serial in ("1", "2", "3")]
    tree.publish()
    await read(proxy.url(INDEX))
    gate = origin.gate("com.ubuntu.maas/*")

    replies = [asyncio.create_task(read(proxy.url(item.path))) for item in items]
    await gate.waiting(1)
    gate.open()

    assert all([is_right(await reply, items[0]) for reply in replies])
    assert origin.count("com.ubuntu.maas/*") == 1


async def test_the_same_bytes_in_two_mirrors_are_fetched_once(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """As stable and candidate often share theirs."""
    (item,) = add_items(tree, MIB)
    candidate = replace(mirror, name="candidate", mount="/images/candidate/")
    async with run_proxy(make_config(tmp_path / "data", mirror, candidate)) as proxy:
        first = await read(proxy.url(f"{mirror.mount}{item.path}"))
        second = await read(proxy.url(f"{candidate.mount}{item.path}"))

    assert is_right(first, item)
    assert is_right(second, item)
    assert second.cache_status == "hit"
    assert origin.count(item.path) == 1


# Limits


async def test_the_least_recently_used_item_makes_room(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    first, second, third, new = add_items(tree, MIB, MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB), clock) as proxy:
        for item in (first, second, third):
            clock.advance(60)
            await fetch(proxy, item)
        clock.advance(60)
        assert (await fetch(proxy, first)).cache_status == "hit"
        await proxy.cache.delivery._usage.flush()

        assert (await fetch(proxy, new)).cache_status == "fwd=uri-miss; stored"

        assert stored(proxy, first, second, third, new) == [True, False, True, True]
        assert (await fetch(proxy, second)).cache_status == "fwd=uri-miss; stored"
        assert stored(proxy, first, second, third, new) == [True, True, False, True]
    assert origin.count(second.path) == 2


async def test_a_pinned_item_is_never_evicted(tmp_path: Path, mirror: Mirror, tree: SignedTree) -> None:
    pinned, other, new, newest = add_items(tree, MIB, MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        for item in (pinned, other):
            await fetch(proxy, item)
        await in_ledger(proxy, lambda ledger: Pins(ledger).pin_all("test", [Digest(pinned.digest)]))

        for item in (new, newest):
            assert (await fetch(proxy, item)).cache_status == "fwd=uri-miss; stored"

        assert stored(proxy, pinned, other, new, newest) == [True, False, False, True]


async def test_when_all_is_pinned_clients_are_served_all_the_same(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    pinned, new = add_items(tree, 2 * MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        await fetch(proxy, pinned)
        await in_ledger(proxy, lambda ledger: Pins(ledger).pin_all("test", [Digest(pinned.digest)]))

        assert [(await fetch(proxy, new)).cache_status for _ in range(2)] == [NOT_STORED] * 2

        assert stored(proxy, pinned, new) == [True, False]


async def test_what_passes_uncached_costs_one_upstream_request_each_time(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        for _ in range(2):
            await fetch(proxy, item)
    assert origin.count(item.path) == 2


async def test_documents_that_are_served_are_never_evicted(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    """They are the oldest blobs of all, and without them no item could be served."""
    items = add_items(tree, *[MIB] * 6)
    for _ in range(2):  # The second run finds the documents on disk, and counts them.
        async with run_proxy(limited(tmp_path, mirror, 2 * MIB), clock) as proxy:
            for item in items:
                await fetch(proxy, item)
    await origin.stop()
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB), clock) as proxy:
        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
        assert sum(stored(proxy, *items)) == 2


async def test_an_item_that_is_being_read_is_not_removed(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    """Its place is not counted on either: the next oldest item goes instead."""
    read_now, idle, new = add_items(tree, 16 * MIB, MIB, MIB)
    async with run_proxy(limited(tmp_path, mirror, 17 * MIB)) as proxy:
        for item in (read_now, idle):
            await fetch(proxy, item)

        async with Exchange(proxy.url(read_now.path)) as exchange:
            assert await exchange.begin() == 200
            fetched = await fetch(proxy, new)
            assert stored(proxy, read_now)[0]
            assert is_right(await exchange.rest(), read_now)

        assert fetched.cache_status == "fwd=uri-miss; stored"
        assert stored(proxy, read_now, idle, new) == [True, False, True]


async def test_an_item_larger_than_the_limit_passes_through_verified_and_uncached(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """And nothing is evicted for it, since that would not help."""
    small, large = add_items(tree, MIB, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        await fetch(proxy, small)

        assert (await fetch(proxy, large)).cache_status == NOT_STORED

        assert stored(proxy, small, large) == [True, False]
        part = await read(proxy.url(large.path), Range="bytes=1000000-3999999")
        assert (part.status, part.body) == (206, large.read()[1_000_000:4_000_000])
        origin.fault(large.path, Fault(corrupt_at=2 * MIB))
        wrong = await read(proxy.url(large.path))
        assert not wrong.is_complete
        assert len(wrong.body) <= 4 * MIB - 64 * KIB


async def test_what_passes_uncached_leaves_while_it_arrives(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    (item,) = add_items(tree, 4 * MIB)
    async with run_proxy(limited(tmp_path, mirror, 3 * MIB)) as proxy:
        stall = origin.fault(item.path, Fault(stall_after=MIB))
        async with Exchange(proxy.url(item.path)) as exchange:
            assert await exchange.begin() == 200
            await exchange.received(MIB - 64 * KIB)
            stall.remove()
            assert is_right(await exchange.rest(), item)


async def test_nothing_is_stored_when_the_disk_must_stay_free(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    (item,) = add_items(tree, MIB)
    config = make_config(tmp_path / "data", mirror, cache=StoreLimits(min_free_bytes=1024**5))
    async with run_proxy(config) as proxy:
        assert (await fetch(proxy, item)).cache_status == NOT_STORED
        assert stored(proxy, item) == [False]


async def test_fills_that_run_at_once_stay_within_the_limit_together(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """Room is set aside before the first byte comes, not found missing in the middle."""
    items = add_items(tree, *[MIB] * 5)
    async with run_proxy(limited(tmp_path, mirror, 2 * MIB)) as proxy:
        await read(proxy.url(INDEX))
        origin.clear()
        origin.fault("com.ubuntu.maas/*", Fault(stall_after=MIB // 2))
        replies = [asyncio.create_task(read(proxy.url(item.path))) for item in items]
        # Three of them ask the origin once more, for their client alone: there is no room for them.
        await origin.arrived("com.ubuntu.maas/*", len(items) + 3)
        origin.heal()

        statuses = sorted([(await reply).cache_status for reply in replies])
        await proxy.fills_ended()

        assert statuses == [NOT_STORED] * 3 + ["fwd=uri-miss; stored"] * 2
        assert sum(stored(proxy, *items)) == 2


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

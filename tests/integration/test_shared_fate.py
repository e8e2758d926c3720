"""What must not spread: one item's, path's, mirror's or process's trouble to another's."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, Got, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore

MIB = 1024 * 1024
PRODUCT = "p"
INDEX = "streams/v1/index.sjson"
PLAIN_INDEX = "streams/v1/index.json"


async def attempt(proxy: RunningProxy, path: str) -> Got | None:
    """Read a path; None when the connection was cut before a status."""
    with contextlib.suppress(aiohttp.ClientError):
        return await proxy.read(path)
    return None


async def forget_failures(proxy: RunningProxy, item: TreeItem) -> None:
    """Do what time does."""
    storage = proxy.cache.storage
    await storage.threads.ledger(storage.ledger.forget, f"bad/{item.digest}/{item.size}")


async def test_who_follows_a_fill_that_is_begun_anew_never_completes_on_its_first_bytes(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    """A follower's readers hold the refused file; the tail of that one must stay back for ever.

    The moment of the refusal is moved through the follower's whole polling period.
    """
    item = tree.add_item(PRODUCT, "1", "squashfs", size=MIB)
    tree.publish()
    right = item.read()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config) as leader, run_proxy(config) as follower:
        for one in (leader, follower):
            await one.read(INDEX)
        for number in range(24):
            leader.layout.path(item.digest).unlink(missing_ok=True)
            await forget_failures(leader, item)
            fault = Fault(corrupt_at=1000 if number % 2 else MIB - 10, stall_after=MIB - 100)
            handle = origin.fault(item.path, fault, times=1)
            first = asyncio.create_task(attempt(leader, item.path))
            await handle.reached.wait()
            second = asyncio.create_task(attempt(follower, item.path))
            await asyncio.sleep(0.05 + number * 0.011)
            handle.remove()
            for got in await asyncio.gather(first, second):
                assert got is None or not got.is_complete or got.body == right
            await leader.fills_ended()
            await follower.fills_ended()


async def test_an_absent_path_says_nothing_about_another_path_of_the_same_content(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "1", "kernel", path="old/kernel", data=b"k" * 100_000)
    tree.add_item(PRODUCT, "2", "kernel", path="new/kernel", data=b"k" * 100_000)
    tree.publish()
    origin.fault("old/kernel", Fault(status=404))

    statuses = [(await proxy.read(path)).status for path in ("old/kernel", "new/kernel")]

    assert statuses == [404, 200]


async def test_a_list_with_a_wrong_size_harms_only_its_own_item(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    good = tree.add_item(PRODUCT, "1", "kernel", path="good/kernel", size=100_000)
    tree.add_item(PRODUCT, "1", "odd", path="odd/kernel", size=5000)
    tree.version(PRODUCT, "1")["items"]["odd"] |= {"sha256": good.digest, "size": 99_999}
    tree.publish()
    await proxy.read(good.path)
    await proxy.fills_ended()

    odd = await attempt(proxy, "odd/kernel")
    again = await proxy.read(good.path)

    assert odd is None or not odd.is_complete
    assert (again.cache_status, again.body) == ("hit", good.read())
    assert origin.count(good.path) == 1


async def test_a_damaged_blob_of_another_size_is_set_aside_and_fetched_again(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item(PRODUCT, "1", "kernel", size=100_000)
    tree.publish()
    await proxy.read(item.path)
    await proxy.fills_ended()
    blob = proxy.layout.path(item.digest)
    blob.chmod(0o644)
    blob.write_bytes(item.read()[:50_000])

    got = await proxy.read(item.path)

    assert got.body == item.read()
    assert origin.count(item.path) == 2
    assert (proxy.layout.quarantine / item.digest).stat().st_size == 50_000


async def test_an_outage_evicts_nothing_and_takes_no_room(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    kept = tree.add_item(PRODUCT, "1", "kept", size=MIB)
    dead = [tree.add_item(PRODUCT, "1", f"dead-{number}", size=MIB) for number in range(3)]
    later = tree.add_item(PRODUCT, "1", "later", size=MIB)
    tree.publish()
    limits = StoreLimits(limit_bytes=2 * MIB + MIB // 2, min_free_bytes=0)
    impatient = UpstreamOptions(connect_timeout_s=0.5, stall_timeout_s=0.5, give_up_after_s=0.5)
    config = make_config(tmp_path / "data", mirror, cache=limits, upstream=impatient)
    async with run_proxy(config) as proxy:
        await proxy.read(kept.path)
        await proxy.fills_ended()
        for item in dead:
            origin.fault(item.path, Fault(refuse=True))
        await asyncio.gather(*(attempt(proxy, item.path) for item in dead))
        await proxy.fills_ended()

        assert proxy.store.has(kept.digest)
        assert (await proxy.read(later.path)).cache_status == "fwd=uri-miss; stored"
        assert await asyncio.to_thread(lambda: set(proxy.store.partial_digests())) <= {later.digest}


async def test_an_origin_that_accepts_and_says_nothing_takes_no_room(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    kept, silent, later = (
        tree.add_item(PRODUCT, "1", name, size=MIB) for name in ("kept", "silent", "later")
    )
    tree.publish()
    limits = StoreLimits(limit_bytes=2 * MIB + MIB // 2, min_free_bytes=0)
    async with run_proxy(make_config(tmp_path / "data", mirror, cache=limits)) as proxy:
        await proxy.read(kept.path)
        await proxy.fills_ended()  # Clients have it all before the disk has.
        gate = origin.gate(silent.path)
        waiting = asyncio.create_task(proxy.read(silent.path))
        await gate.waiting(1)

        assert (await proxy.read(later.path)).cache_status == "fwd=uri-miss; stored"
        assert proxy.store.has(kept.digest)
        gate.open()
        assert (await waiting).body == silent.read()


async def test_a_client_of_one_mirror_does_not_wait_for_the_silent_origin_of_another(
    tmp_path: Path, tree: SignedTree, key: SigningKey, keyring: Path, origin: Origin
) -> None:
    """The same content, asked for under two mirrors: either origin may deliver it to both."""
    tree.add_item(PRODUCT, "1", "kernel", path="a/kernel", data=b"k" * 300_000)
    tree.publish()
    other = SignedTree(tmp_path / "other", key)
    item = other.add_item(PRODUCT, "1", "kernel", path="b/kernel", data=b"k" * 300_000)
    other.publish()
    async with Origin(other.root) as healthy:
        mirrors = [
            Mirror(name=name, mount=f"/{name}/", origins=(one.url,), keyring=str(keyring))
            for name, one in (("a", origin), ("b", healthy))
        ]
        async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy:
            for name in "ab":
                await proxy.read(f"/{name}/{INDEX}")
            gate = origin.gate("a/kernel")
            first = asyncio.create_task(attempt(proxy, "/a/a/kernel"))
            await gate.waiting(1)

            got = await proxy.read("/b/b/kernel")

            assert got.body == item.read()
            gate.open()
            await first


async def test_a_lost_plain_document_leaves_the_others_and_the_items_served(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item(PRODUCT, "1", "kernel", size=10_000)
    tree.publish()
    for path in (INDEX, PLAIN_INDEX, item.path):
        await proxy.read(path)
    await proxy.fills_ended()
    found = await proxy.documents.find(PLAIN_INDEX, "somebody")
    assert found is not None
    proxy.layout.path(found[0].digest).unlink()
    await origin.stop()

    statuses = [(await proxy.read(path)).status for path in (PLAIN_INDEX, INDEX, item.path)]

    assert statuses == [503, 200, 200]
    await origin.start()
    proxy.clock.advance(1000)
    await proxy.documents.checks.revalidate()
    assert (await proxy.read(PLAIN_INDEX)).status == 200


async def test_a_connection_that_ends_without_a_length_is_resumed_and_no_proof_of_a_bad_item(
    tmp_path: Path, tree: SignedTree, keyring: Path
) -> None:
    item = tree.add_item(PRODUCT, "1", "kernel", size=3 * MIB)
    tree.publish()
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().lstrip("/").replace("%3A", ":")
        file = tree.root / path
        writer.write(
            b"HTTP/1.1 200 OK\r\nConnection: close\r\n" if file.is_file() else b"HTTP/1.1 404 No\r\n"
        )
        if path == item.path:
            asked += 1
            writer.write(b"\r\n" + item.read()[: 2 * MIB if asked == 1 else None])
        else:
            body = file.read_bytes() if file.is_file() else b""
            writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        mirror = Mirror(name="test", mount=MOUNT, origins=(url,), keyring=str(keyring))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            got = await proxy.read(item.path)

    assert got.body == item.read()
    # The second time for the rest. An answer without a length may be just that: it is asked for the whole.
    assert asked == 3


async def test_a_document_that_only_drips_in_keeps_nobody_waiting(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    tree.add_item(PRODUCT, "1", "kernel", size=10_000)
    tree.publish()
    upstream = UpstreamOptions(stall_timeout_s=1, document_timeout_s=1)
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=upstream)) as proxy:
        await proxy.read(INDEX)
        origin.fault(INDEX, Fault(rate_bytes_s=5, no_etag=True))

        assert (await proxy.read(PLAIN_INDEX)).status == 503
        assert (await proxy.read(INDEX)).status == 200


async def test_a_bad_item_that_the_store_cannot_take_is_remembered_and_an_absent_one_is_404(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    bad = tree.add_item(PRODUCT, "1", "bad", size=2 * MIB)
    absent = tree.add_item(PRODUCT, "1", "absent", size=2 * MIB)
    tree.publish()
    origin.fault(bad.path, Fault(corrupt_at=5))
    origin.fault(absent.path, Fault(status=404))
    small = StoreLimits(limit_bytes=MIB, min_free_bytes=0)
    async with run_proxy(make_config(tmp_path / "data", mirror, cache=small)) as proxy:
        got = [await attempt(proxy, bad.path) for _ in range(3)]

        assert not any(one is not None and one.is_complete for one in got)
        assert origin.count(bad.path) == 1
        assert (await proxy.read(absent.path)).status == 404


async def test_a_blob_committed_during_a_reconciliation_keeps_its_row(proxy: RunningProxy) -> None:
    storage = proxy.cache.storage
    other = b"x" * 1000

    def reconcile() -> tuple[bool, int]:
        def found() -> Iterator[tuple[Digest, int, float]]:
            yield from [(one.digest, one.size_bytes, 0.0) for one in storage.store.scan()]
            storage.blobs.add(storage.store.put(other), len(other))

        storage.blobs.reconcile(found(), storage.store.has)
        rows = {usage.digest for usage in storage.blobs.usages()}
        return storage.store.put(other) in rows, storage.blobs.total_bytes()

    is_known, total_bytes = await storage.threads.ledger(reconcile)

    assert is_known
    assert total_bytes >= len(other)


async def test_a_list_that_answers_403_costs_only_itself_at_the_start(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    """Object stores say 403 for what they do not have."""
    item = tree.add_item(PRODUCT, "1", "kernel", size=10_000)
    tree.add_item("other", "1", "kernel", size=10_000, content_id="dead")
    tree.publish()
    origin.fault("streams/v1/dead.sjson", Fault(status=403))

    statuses = [(await proxy.read(path)).status for path in (INDEX, "streams/v1/dead.sjson", item.path)]

    assert statuses == [200, 502, 200]


async def test_a_well_signed_list_in_the_place_of_another_is_refused(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    item = tree.add_item(PRODUCT, "1", "kernel", size=10_000)
    tree.add_item("other", "1", "kernel", size=10_000, content_id="other")
    tree.publish()
    wrong = (tree.root / "streams/v1/com.ubuntu.maas:stable:v3:download.sjson").read_bytes()
    tree.write("streams/v1/other.sjson", wrong)

    replies = [await proxy.read(path) for path in ("streams/v1/other.sjson", item.path)]

    assert [reply.status for reply in replies] == [502, 200]
    assert b"not 'other'" in replies[0].body


async def test_a_transfer_that_is_stopped_as_it_begins_leaves_the_item_free(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its right to write the file would stay with this process for as long as that lives."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.publish()
    loop, is_begun, is_released = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    acquire = LocalStore.acquire

    def acquire_slowly(*args: Any) -> LocalIncoming | None:
        loop.call_soon_threadsafe(is_begun.set)
        is_released.wait(30)
        return acquire(*args)

    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        await proxy.read("streams/v1/index.sjson")
        with monkeypatch.context() as patches:
            patches.setattr(LocalStore, "acquire", acquire_slowly)
            asking = asyncio.create_task(proxy.read(item.path))
            await is_begun.wait()
            (fill,) = proxy.cache._flights._running
            fill.task.cancel()
            is_released.set()
            await proxy.fills_ended()
            await asyncio.gather(asking, return_exceptions=True)

        free = await asyncio.to_thread(proxy.store.acquire, Digest(item.digest), item.size)
        assert free is not None
        await asyncio.to_thread(free.close)

"""While a lockfile is served, clients get exactly what it names, and nobody is asked for anything newer."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.bundles.lockfile import Lockfile
from proxy.config.config import Config
from proxy.jobs.locking import make_lock
from proxy.mirror import Mirror, Trust
from proxy.recordings.recording import Recording
from proxy.runtime import open_recording_folder
from proxy.service.locked import LockRefused

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


async def begin(proxy: RunningProxy) -> Recording:
    """Begin to record all that is asked of a proxy."""
    recording = Recording(name="lab", since=proxy.clock(), begun_at=proxy.clock())
    folder = await proxy.cache.storage.threads.disk(open_recording_folder, proxy.config)
    await proxy.cache.storage.threads.disk(folder.begin, recording)
    await proxy.cache.storage.threads.disk(folder.board.close)
    return recording


async def locked(proxy: RunningProxy, recording: Recording) -> Lockfile:
    """Return a lockfile of what was asked since."""
    await proxy.cache.recorder.write_down()
    folder = await proxy.cache.storage.threads.disk(open_recording_folder, proxy.config)
    taken = await proxy.cache.storage.threads.disk(folder.taken, recording)
    await proxy.cache.storage.threads.disk(folder.board.close)
    return (await make_lock(proxy.cache, recording, taken)).lockfile


def add(tree: SignedTree, version: str) -> list[TreeItem]:
    return [tree.add_item(PRODUCT, version, f"item-{number}", size=1000) for number in range(3)]


@pytest.fixture
def config(tmp_path: Path, mirror: Mirror) -> Config:
    return make_config(tmp_path / "data", mirror)


async def test_of_two_generations_the_newest_documents_and_all_items_are_served(
    config: Config, clock: Clock, tree: SignedTree, origin: Origin, tmp_path: Path
) -> None:
    old = add(tree, "20250718")
    tree.publish()
    async with run_proxy(config, clock) as proxy:
        recording = await begin(proxy)
        for path in (INDEX, LIST, old[0].path):
            await proxy.read(path)
        tree.version(PRODUCT, "20250718")["items"].clear()
        new = add(tree, "20250801")
        tree.publish()
        await proxy.cache.refresh("test")
        newest = {path: (await proxy.read(path)).body for path in (INDEX, new[0].path)}
        await proxy.read("streams/v1/index.json")  # From now on there is a third, with this as well.
        newest_list = (tree.root / LIST).read_bytes()
        lockfile = await locked(proxy, recording)
    first, last = lockfile.locked
    assert [one.path for one in first.contents.items] == [old[0].path]
    assert [one.path for one in last.contents.items] == [new[0].path]
    add(tree, "20250901")
    tree.publish()
    origin.clear()

    elsewhere = replace(config, data_dir=tmp_path / "elsewhere")
    async with run_proxy(elsewhere, clock, lockfile=lockfile) as proxy:
        clock.advance(7 * 86400)
        for path, body in newest.items():
            for _ in range(4):  # From the reply cache in the end.
                assert (await proxy.read(path)).body == body
        assert (await proxy.read(old[0].path)).body == old[0].read()
        # The newest generation was not asked for its list, but one before was.
        assert (await proxy.read(LIST)).body == newest_list
        for path in (old[1].path, new[1].path, "streams/v1/nothing.sjson", "nothing"):
            assert (await proxy.read(path)).status == 404
        assert await proxy.cache.refresh("test") is not None
        assert (await proxy.read("/-/ready")).status == 200
    assert {one.path.lstrip("/") for one in origin.requests} == {old[0].path, new[0].path}
    # It was served for the time being: nothing was accepted.
    async with run_proxy(replace(elsewhere, offline=True), clock) as proxy:
        assert (await proxy.read(INDEX)).status == 503


async def test_a_document_that_the_store_has_lost_comes_from_the_lockfile(
    config: Config, clock: Clock, tree: SignedTree
) -> None:
    (item, *_) = add(tree, "20250718")
    tree.publish()
    async with run_proxy(config, clock) as proxy:
        recording = await begin(proxy)
        index = (await proxy.read(INDEX)).body
        await proxy.read(item.path)
        lockfile = await locked(proxy, recording)
    async with run_proxy(config, clock, lockfile=lockfile) as proxy:
        digest = next(one.sha256 for one in lockfile.locked[0].contents.documents if one.path == INDEX)
        proxy.layout.path(digest).unlink()
        got = await proxy.read(INDEX)
        assert (got.status, got.body) == (200, index)
        assert (await proxy.read(LIST)).status == 404  # It is there to prove the item.


async def test_where_tls_is_trusted_only_what_was_accepted_counts(
    config: Config, clock: Clock, tmp_path: Path
) -> None:
    tree = SignedTree(tmp_path / "plain", None)
    (item, *_) = add(tree, "20250718")
    tree.publish()
    mirror = Mirror(name="test", mount="/m/", origins=(f"{tree.root.as_uri()}/",), trust=Trust.TLS)
    config = replace(config, mirrors=(mirror,))
    plain = INDEX.replace(".sjson", ".json")
    async with run_proxy(config, clock) as proxy:
        recording = await begin(proxy)
        assert (await proxy.read(plain)).status == 200
        assert (await proxy.read(item.path)).status == 200
        lockfile = await locked(proxy, recording)
    async with run_proxy(config, clock, lockfile=lockfile) as proxy:
        assert (await proxy.read(item.path)).body == item.read()
        assert (await proxy.read(plain)).status == 200
    add(tree, "20250801")
    tree.publish()
    async with run_proxy(config, clock) as proxy:
        assert await proxy.cache.refresh("test") is None
    with pytest.raises(LockRefused, match="not those that were accepted here"):
        async with run_proxy(config, clock, lockfile=lockfile):
            pass
    with pytest.raises(LockRefused, match="verified"):
        async with run_proxy(replace(config, data_dir=tmp_path / "empty"), clock, lockfile=lockfile):
            pass

"""Items of which lists give a SHA-512 and no SHA-256: verified by that, stored by their SHA-256."""

from dataclasses import replace
from hashlib import md5, sha512
from pathlib import Path

import pytest
from support.exchange import read
from support.generations import PRODUCT
from support.keys import SigningKey
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem

from proxy.jobs.choosing import choose_items
from proxy.jobs.plan import Wanted
from proxy.jobs.selection import Selection
from proxy.mirror import Mirror
from proxy.simplestreams.model import Item


def list_by(tree: SignedTree, item: TreeItem, **proof: object) -> None:
    """Publish an item with another proof than its SHA-256."""
    entry = tree.version(PRODUCT, "1")["items"]["image"]
    del entry["sha256"]
    entry.update(proof)
    assert entry["path"] == item.path
    tree.publish()


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Add an image."""
    return tree.add_item(PRODUCT, "1", "image", size=300_000)


@pytest.mark.parametrize("is_upper", [False, True])
async def test_it_is_served_and_stored_like_any_other(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, item: TreeItem, is_upper: bool
) -> None:
    """It is read twice the first time, and never again, not after a restart either."""
    digest = sha512(item.read()).hexdigest()
    list_by(tree, item, sha512=digest.upper() if is_upper else digest)
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config) as proxy:
        for _ in range(2):
            reply = await proxy.read(item.path)
            assert (reply.status, reply.body) == (200, item.read())
            await proxy.fills_ended()
        part = await proxy.read(item.path, Range="bytes=10-19")
        assert (part.status, part.body) == (206, item.read()[10:20])
        assert proxy.store.has(item.digest)
    assert origin.count(item.path) == 2

    origin.clear()
    async with run_proxy(config) as proxy:
        assert (await proxy.read(item.path)).cache_status == "hit"
    assert origin.count(item.path) == 0


async def test_what_was_asked_for_once_can_be_chosen_and_kept_like_any_other(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem
) -> None:
    """Before that, `prefetch` and `ready` say what is missing, and what helps."""
    list_by(tree, item, sha512=sha512(item.read()).hexdigest().upper())
    await proxy.read("streams/v1/index.sjson")

    before = await choose_items(proxy.cache, ["test"], Selection())
    await proxy.read(item.path)
    after = await choose_items(proxy.cache, ["test"], Selection())

    (problem,) = before.unprovable
    assert (problem.mirror, problem.path) == ("test", item.path)
    assert "gives a sha512 and no sha256; ask for it once" in problem.problem
    assert (before.wanted, after.unprovable) == ([], [])
    assert after.wanted == [Wanted("test", Item(item.path, item.digest, item.size))]


@pytest.mark.parametrize("record", [7, "x", {"sha256": "x"}, "A" * 64])
async def test_a_record_that_cannot_be_read_is_made_anew(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem, record: object
) -> None:
    digest = sha512(item.read()).hexdigest()
    list_by(tree, item, sha512=digest)
    storage = proxy.cache.storage
    await storage.threads.ledger(storage.ledger.write, f"sha512/{digest}", record)

    assert (await proxy.read(item.path)).body == item.read()


async def test_what_does_not_match_reaches_nobody(
    proxy: RunningProxy, tree: SignedTree, item: TreeItem
) -> None:
    list_by(tree, item, sha512=sha512(b"something else").hexdigest())

    reply = await read(proxy.url(item.path))

    assert (reply.status, reply.body) == (0, b"")
    assert not proxy.store.has(item.digest)


async def test_a_good_origin_makes_up_for_a_wrong_one(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, key: SigningKey, item: TreeItem
) -> None:
    list_by(tree, item, sha512=sha512(item.read()).hexdigest())
    wrong = SignedTree(tmp_path / "wrong", key)
    wrong.add_item(PRODUCT, "1", "image", path=item.path, data=b"x" * item.size)
    async with Origin(wrong.root) as bad:
        both = replace(mirror, origins=(bad.url, *mirror.origins))
        async with run_proxy(make_config(tmp_path / "data", both)) as proxy:
            assert (await proxy.read(item.path)).body == item.read()


@pytest.mark.parametrize("how", ["md5", "nothing", "no size", "half a sha512"])
async def test_what_nothing_proves_is_refused_in_words(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, item: TreeItem, how: str
) -> None:
    digest = sha512(item.read()).hexdigest()
    proofs: dict[str, dict[str, object]] = {
        "md5": {"md5": md5(item.read(), usedforsecurity=False).hexdigest()},
        "nothing": {},
        "no size": {"sha512": digest, "size": None},
        "half a sha512": {"sha512": digest[:64]},
    }
    list_by(tree, item, **proofs[how])

    reply = await proxy.read(item.path)

    assert reply.status == 404
    assert b"gives no sha256 and size to verify it with, nor a sha512" in reply.body
    assert origin.count(item.path) == 0

"""Object stores answer 403 for what they do not have, to whom may not list the bucket."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.generations import INDEX, LIST, PRODUCT, STALE_S, bodies, on_disk, stats
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror, Trust

PLAIN_INDEX, PLAIN_LIST = (path.replace(".sjson", ".json") for path in (INDEX, LIST))
SIGNATURES = (f"{PLAIN_INDEX}.gpg", f"{PLAIN_LIST}.gpg")


def publish(tree: SignedTree, origin: Origin, *dropped: str, detached: bool = False) -> None:
    """Publish a tree without some documents, which the origin then forbids."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=detached)
    for path in dropped:
        (tree.root / path).unlink()
        origin.fault(path, Fault(status=403))


async def test_a_plain_tree_with_detached_signatures_is_served(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish(tree, origin, INDEX, LIST, detached=True)

    paths = (PLAIN_INDEX, PLAIN_LIST, *SIGNATURES)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)
    assert (await stats(proxy))["failures"] == 0
    assert [(await proxy.read(path)).status for path in (INDEX, LIST)] == [404, 404]


async def test_a_plain_index_needs_its_signature_all_the_same(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    """Else whoever can answer 403 could replace what is signed."""
    publish(tree, origin, INDEX, f"{PLAIN_INDEX}.gpg", detached=True)

    reply = await proxy.read(PLAIN_INDEX)

    assert reply.status == 503
    assert b"index.json is refused: it is not signed" in reply.body
    assert b"status 403" in reply.body


async def test_an_older_plain_index_does_not_come_back_behind_a_403(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish(tree, origin, detached=True)
    earlier = on_disk(tree, PLAIN_INDEX, PLAIN_LIST, *SIGNATURES)
    publish(tree, origin, detached=True)
    current = await bodies(proxy, INDEX, LIST)
    for path, raw in zip((PLAIN_INDEX, PLAIN_LIST, *SIGNATURES), earlier, strict=True):
        tree.write(path, raw)
    for path in (INDEX, LIST):
        origin.fault(path, Fault(status=403))

    await proxy.documents.checks.revalidate()

    assert await bodies(proxy, INDEX, LIST) == current
    assert "is older than the one already accepted" in (await stats(proxy))["last_refusal"]


async def test_an_origin_that_forbids_every_index_leaves_it_to_the_next(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    publish(tree, origin)
    async with Origin(tree.root) as second:
        for path in (INDEX, PLAIN_INDEX):
            origin.fault(path, Fault(status=403))
        async with run_proxy(
            make_config(tmp_path / "data", replace(mirror, origins=(origin.url, second.url)))
        ) as proxy:
            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


async def test_a_login_wall_is_told_as_what_it_said(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish(tree, origin)
    origin.fault("*", Fault(status=403))

    reply = await proxy.read(INDEX)

    assert reply.status == 503
    assert f"{origin.url}: it gives no {INDEX} and no ".encode() in reply.body


async def test_an_unsigned_tree_in_a_bucket_is_served(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    unsigned = SignedTree(tree.root, None)
    publish(unsigned, origin)
    for path in (INDEX, LIST, *SIGNATURES):
        origin.fault(path, Fault(status=403))
    async with run_proxy(make_config(tmp_path / "data", replace(mirror, trust=Trust.TLS))) as proxy:
        assert await bodies(proxy, PLAIN_INDEX, PLAIN_LIST) == on_disk(tree, PLAIN_INDEX, PLAIN_LIST)
        assert [(await proxy.read(path)).status for path in (INDEX, *SIGNATURES)] == [404] * 3


async def test_flavours_that_are_forbidden_are_absent_and_looked_for_again(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """A 403 may be a limit that was met, and end."""
    publish(tree, origin, detached=True)
    for path in (PLAIN_INDEX, PLAIN_LIST, *SIGNATURES):
        origin.fault(path, Fault(status=403))
    assert [(await proxy.read(path)).status for path in (PLAIN_INDEX, PLAIN_LIST, *SIGNATURES)] == [404] * 4
    assert (await stats(proxy))["failures"] == 0

    origin.heal()
    clock.advance(16)
    await proxy.read(INDEX)
    await proxy.documents.checks.revalidate()
    paths = (PLAIN_INDEX, PLAIN_LIST, *SIGNATURES)
    assert await bodies(proxy, *paths) == on_disk(tree, *paths)


async def test_a_flavour_that_becomes_forbidden_does_not_freeze_the_mirror(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    publish(tree, origin)
    old = await bodies(proxy, PLAIN_INDEX, PLAIN_LIST, INDEX)
    publish(tree, origin)
    origin.fault("*.json", Fault(status=403))

    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, PLAIN_INDEX, PLAIN_LIST, INDEX) == old
    clock.advance(6 * 3600)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)
    assert (await proxy.read(PLAIN_INDEX)).status == 404


async def test_lists_with_colons_are_found_under_their_other_spelling(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    publish(tree, origin)
    [text] = on_disk(tree, LIST)
    tree.write(LIST.replace(":", "%3A"), text)
    origin.fault(LIST, Fault(status=403))

    assert await bodies(proxy, LIST) == [text]


async def test_documents_accepted_stay_while_a_wall_answers_403(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    publish(tree, origin)
    old = await bodies(proxy, INDEX, LIST)
    origin.fault("*", Fault(status=403))
    for _ in range(10):
        clock.advance(3600 * 6 + STALE_S)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST) == old


@pytest.mark.parametrize("path", ["stablestreams/v1/index.sjson", "images/streams/v1/index.json"])
async def test_an_index_in_a_wrong_place_is_absent_at_once_also_before_there_are_lists(
    proxy: RunningProxy, origin: Origin, path: str
) -> None:
    """MAAS up to 3.7 asks so first, and takes only a 404 as a reason to add the slash."""
    origin.fault("*", Fault(status=500))
    assert (await proxy.read(path)).status == 404

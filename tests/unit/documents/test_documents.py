"""What clients get of one mirror's documents, and what is said where there is nothing."""

import asyncio
from pathlib import Path

import pytest
from support.generations import INDEX, LIST, PRODUCT, SECOND_LIST, on_disk
from support.mirrors import Worker
from support.running import Clock
from support.stored import removed
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.documents.documents import FlavourUnknown, NoGeneration
from proxy.documents.mirror_status import Refusal
from proxy.simplestreams.model import Item
from proxy.sources.offline import OfflineSwitch

PLAIN = LIST.replace(".sjson", ".json")
PLAIN_INDEX = INDEX.replace(".sjson", ".json")
CLIENT = "192.0.2.1"


@pytest.fixture
def tree(tree: SignedTree) -> SignedTree:
    """Return a tree with two lists."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish(detached=True)
    return tree


async def test_before_anything_is_there_the_reason_is_told(worker: Worker, tree: SignedTree) -> None:
    documents = worker.documents
    (tree.root / INDEX).unlink()
    (tree.root / PLAIN_INDEX).unlink()
    assert documents.are_none
    assert documents.refusal(LIST) is None
    assert not documents.is_unverifiable("item")
    assert documents.find_item("item") is None
    assert await documents.recorded() is None
    assert await documents.knows_what_it_lists()
    with pytest.raises(NoGeneration, match="mirror test has no verified documents yet") as caught:
        await documents.find(INDEX, CLIENT)
    assert caught.value.mirror == "test"
    assert caught.value.reason in str(caught.value)
    with pytest.raises(NoGeneration):
        await documents.lists()


async def test_what_is_served_is_told_by_path_and_by_digest(worker: Worker, tree: SignedTree) -> None:
    documents = worker.documents
    item = tree.add_item(PRODUCT, "20250702", "squashfs")
    listed = tree.version(PRODUCT, "20250702")["items"]
    listed["bare"] = {"ftype": "bare", "path": "a/bare", "size": 4}
    tree.publish(detached=True)
    accepted = await worker.check()
    assert not documents.are_none
    assert await worker.read(INDEX) == on_disk(tree, INDEX)[0]
    found = documents.find_item(item.path)
    assert found is not None
    assert found.digest == item.digest
    assert documents.find_digest(item.digest) == (found, False)
    index = accepted.documents[INDEX]
    assert documents.find_digest(index.digest) == (index.item, True)
    assert documents.is_unverifiable("a/bare")
    assert not documents.is_unverifiable(item.path)
    assert await documents.find(item.path, CLIENT) is None
    assert await documents.find("streams/v1/none.sjson", CLIENT) is None
    edition, lists = await documents.lists()
    assert edition.generation == await documents.recorded() == accepted
    assert {one.content_id for one in lists} == {MAAS_CONTENT_ID, "second"}
    assert await documents.knows_what_it_lists()
    assert documents.why_unverified() == ""


async def test_a_flavour_is_fetched_once_somebody_asks_for_it(worker: Worker, tree: SignedTree) -> None:
    await worker.check()
    assert PLAIN not in (await worker.served()).documents
    assert await worker.read(PLAIN) == on_disk(tree, PLAIN)[0]
    assert PLAIN_INDEX in (await worker.served()).documents
    # From then on with each check; signatures too once one was asked for.
    assert await worker.records.flavours() == {".json"}
    assert await worker.read(f"{PLAIN}.gpg") == on_disk(tree, f"{PLAIN}.gpg")[0]
    assert await worker.records.flavours() == {".json", ".json.gpg"}


async def test_who_has_nothing_yet_gets_plain_documents_with_the_first_check(
    worker: Worker, tree: SignedTree
) -> None:
    assert await worker.read(PLAIN_INDEX) == on_disk(tree, PLAIN_INDEX)[0]
    generation = await worker.served()
    assert generation.number == 1
    assert {PLAIN_INDEX, PLAIN} <= generation.documents.keys()


async def test_a_flavour_that_is_refused_is_not_asked_for_again(worker: Worker, tree: SignedTree) -> None:
    tree.write(PLAIN, b"{}")
    await worker.check()
    assert await worker.documents.find(PLAIN, CLIENT) is None
    refusal = worker.documents.refusal(PLAIN)
    assert isinstance(refusal, Refusal)
    assert not refusal.is_broken
    number = (await worker.served()).number
    assert await worker.documents.find(PLAIN, CLIENT) is None
    assert (await worker.served()).number == number


async def test_a_flavour_nobody_can_be_asked_for_is_not_said_to_be_missing(
    worker: Worker, tree: SignedTree, tmp_path: Path
) -> None:
    await worker.check()
    await asyncio.to_thread(tree.root.rename, tmp_path / "gone")
    with pytest.raises(FlavourUnknown, match="cannot be asked for now") as caught:
        await worker.documents.find(PLAIN, CLIENT)
    assert caught.value.path == PLAIN
    switch = worker.documents._offline
    assert isinstance(switch, OfflineSwitch)
    switch.turn(on=True)
    assert await worker.documents.find(PLAIN, CLIENT) is None


async def test_a_list_that_left_the_index_is_served_for_a_while_and_no_flavour_is(
    worker: Worker, tree: SignedTree, clock: Clock
) -> None:
    await worker.check()
    old = on_disk(tree, SECOND_LIST)[0]
    other = SignedTree(tree.root, tree.key)
    other.add_item(PRODUCT, "20250702", "squashfs")
    other.publish(updated=tree.updated_s + 5)
    assert SECOND_LIST not in (await worker.check()).documents
    assert await worker.read(SECOND_LIST, client="192.0.2.9") == old
    clock.advance(10**7)
    assert await worker.documents.find(SECOND_LIST, "192.0.2.9") is None


async def test_a_document_that_the_store_has_lost_is_had_again_if_it_is_the_same(
    worker: Worker, tree: SignedTree
) -> None:
    accepted = await worker.check()
    document = accepted.documents[LIST]
    assert await worker.documents.fetch_again(document.item) == on_disk(tree, LIST)[0]
    absent = Item("streams/v1/none.sjson", document.digest, document.size_bytes)
    assert await worker.documents.fetch_again(absent) is None
    tree.publish(detached=True)
    assert await worker.documents.fetch_again(document.item) is None
    assert await worker.storage.threads.slow(removed, worker.storage.store, document.text)
    with pytest.raises(NoGeneration, match="the store has lost"):
        await worker.documents.lists()


async def test_the_status_is_the_same_from_every_worker(worker: Worker, clock: Clock) -> None:
    await worker.check()
    status = await worker.documents.status()
    assert (status["trust"], status["is_ready"], status["is_stale"]) == ("gpg", True, False)
    assert [str(one) for one in status["origins"]] == [worker.documents.route.order()[0].name]
    assert status["items"] == 2
    clock.advance(10**6)
    assert (await worker.documents.status())["is_stale"]

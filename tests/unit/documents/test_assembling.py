"""Drafts from a real folder: verified, compared with what was accepted, and what they do without."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.generations import INDEX, LIST, PRODUCT, SECOND_LIST, on_disk, signed
from support.keys import SigningKey
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree

from proxy.documents.assembling import MOST_DOCUMENTS, Assembler
from proxy.documents.draft import Draft
from proxy.documents.generation import Generation
from proxy.documents.rollback import AnotherStream, RollbackError
from proxy.documents.vetting import DocumentRefused
from proxy.sources.document import CONFIRMED
from proxy.sources.errors import OriginAbsent, OriginMisbehaved
from proxy.sources.origin import DocumentSource

PLAIN_INDEX = "streams/v1/index.json"


@pytest.fixture
async def worker(tmp_path: Path, tree: SignedTree, keyring: Path, clock: Clock) -> AsyncIterator[Worker]:
    """Return a worker whose mirror's origin is the tree's folder, with two lists."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish(detached=True)
    async with open_worker(tmp_path / "data", folder_mirror(tree, keyring), clock) as worker:
        yield worker


async def assemble(worker: Worker, current: Generation | None = None, *flavours: str) -> Draft:
    """Return what the folder publishes now."""
    assembler: Assembler = worker.documents.checks._check._assembler
    [origin] = worker.documents.route.order()
    return await assembler.assemble(DocumentSource(origin, CONFIRMED), current, frozenset(flavours))


def accepted(draft: Draft) -> Generation:
    return draft.accepted(1, "keys", 0.0, None)


async def test_a_draft_has_the_index_and_all_lists_it_names(worker: Worker, tree: SignedTree) -> None:
    draft = await assemble(worker)
    assert draft.index_path == INDEX
    assert draft.documents.keys() == {INDEX, LIST, SECOND_LIST}
    assert not draft.gaps
    assert not draft.lacking
    for path in draft.documents:
        data = await worker.storage.threads.slow(worker.storage.store.read, draft.documents[path].digest)
        assert [data] == on_disk(tree, path)


async def test_what_has_not_changed_is_the_document_that_was_accepted(
    worker: Worker, tree: SignedTree
) -> None:
    current = accepted(await assemble(worker))
    tree.add_item(PRODUCT, "20250722", "squashfs")
    second = on_disk(tree, SECOND_LIST)
    tree.publish()
    tree.write(SECOND_LIST, second[0])

    draft = await assemble(worker, current)

    assert draft.documents[SECOND_LIST].digest == current.documents[SECOND_LIST].digest
    assert draft.documents[LIST].digest != current.documents[LIST].digest
    assert draft.gaps == [f"{SECOND_LIST} is older than the index says"]


async def test_a_list_that_is_absent_or_refused_costs_only_itself(worker: Worker, tree: SignedTree) -> None:
    (tree.root / LIST).unlink()
    draft = await assemble(worker)
    assert (draft.absent, set(draft.documents)) == ([LIST], {INDEX, SECOND_LIST})
    assert not draft.refused

    tree.write(LIST, b"-----BEGIN PGP SIGNED MESSAGE-----\n\nno signature\n")
    draft = await assemble(worker)
    assert draft.documents.keys() == {INDEX, SECOND_LIST}
    assert isinstance(draft.refused[LIST], DocumentRefused)


async def test_a_list_in_the_place_of_another_is_refused_though_it_is_signed(
    worker: Worker, tree: SignedTree
) -> None:
    tree.write(LIST, on_disk(tree, SECOND_LIST)[0])
    draft = await assemble(worker)
    assert "it is list 'second', not" in str(draft.refused[LIST])
    assert draft.documents.keys() == {INDEX, SECOND_LIST}


async def test_a_list_that_was_there_and_is_not_makes_a_gap(worker: Worker, tree: SignedTree) -> None:
    current = accepted(await assemble(worker))
    (tree.root / SECOND_LIST).unlink()
    draft = await assemble(worker, current)
    assert draft.gaps == [f"{SECOND_LIST} is named by the index and has vanished"]
    assert draft.absent == [SECOND_LIST]


async def test_an_older_index_is_no_draft(worker: Worker, tree: SignedTree) -> None:
    earlier = on_disk(tree, INDEX)[0]
    tree.publish()
    current = accepted(await assemble(worker))
    tree.write(INDEX, earlier)
    with pytest.raises(RollbackError, match="older than the one already accepted"):
        await assemble(worker, current)


async def test_an_index_of_another_stream_is_no_draft(
    worker: Worker, tree: SignedTree, key: SigningKey
) -> None:
    current = accepted(await assemble(worker))
    other = SignedTree(tree.root, key)
    other.add_item(PRODUCT, "1", "squashfs", content_id="other")
    other.publish(updated=tree.updated_s + 10)
    with pytest.raises(AnotherStream, match="it names other, and no list that was accepted before"):
        await assemble(worker, current)


async def test_a_tree_without_a_signed_index_is_read_by_its_plain_one_and_its_signature(
    worker: Worker, tree: SignedTree
) -> None:
    (tree.root / INDEX).unlink()
    draft = await assemble(worker)
    assert draft.index_path == PLAIN_INDEX
    assert {PLAIN_INDEX, f"{PLAIN_INDEX}.gpg"} <= draft.documents.keys()

    (tree.root / f"{PLAIN_INDEX}.gpg").unlink()
    with pytest.raises(DocumentRefused, match="it is not signed"):
        await assemble(worker)
    (tree.root / PLAIN_INDEX).unlink()
    with pytest.raises(OriginAbsent, match=f"it has no {INDEX} and no {PLAIN_INDEX}"):
        await assemble(worker)


async def test_flavours_are_added_where_they_say_the_same(worker: Worker, tree: SignedTree) -> None:
    draft = await assemble(worker, None, ".json", ".json.gpg")
    assert {PLAIN_INDEX, f"{PLAIN_INDEX}.gpg", "streams/v1/second.json"} <= draft.documents.keys()
    assert not draft.refused_flavours

    tree.write(
        "streams/v1/second.json", b'{"format": "products:1.0", "content_id": "second", "products": {}}'
    )
    draft = await assemble(worker, None, ".json")
    assert "does not say what the signed" in str(draft.refused_flavours["streams/v1/second.json"])
    assert SECOND_LIST in draft.documents


async def test_an_index_may_name_another_and_not_for_ever(worker: Worker, tree: SignedTree) -> None:
    entry = {"format": "index:1.0", "path": "streams/v1/more.sjson"}
    tree.write("streams/v1/more.sjson", signed(tree, {"format": "index:1.0", "index": {"more": entry}}))
    tree.index_entries["more"] = entry
    tree.publish()
    assert "streams/v1/more.sjson" in (await assemble(worker)).documents

    many = {
        f"n{n}": {"format": "products:1.0", "path": f"streams/v1/n{n}.sjson"} for n in range(MOST_DOCUMENTS)
    }
    tree.write("streams/v1/more.sjson", signed(tree, {"format": "index:1.0", "index": many}))
    with pytest.raises(OriginMisbehaved, match=f"its index names more than {MOST_DOCUMENTS} documents"):
        await assemble(worker)


async def test_an_index_whose_lists_are_all_refused_is_the_origins_trouble_once_something_is_served(
    worker: Worker, tree: SignedTree
) -> None:
    current = accepted(await assemble(worker))
    for path in (LIST, SECOND_LIST):
        tree.write(path, json.dumps({"format": "products:1.0"}).encode())
    assert (await assemble(worker)).refused.keys() == {LIST, SECOND_LIST}
    with pytest.raises(DocumentRefused):
        await assemble(worker, current)

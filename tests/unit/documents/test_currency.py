"""Whether a reply that is ready may go out again, and what a generation names by its digest."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.generations import INDEX, LIST, PRODUCT, on_disk
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest, digest_of
from proxy.documents.generation import Edition
from proxy.simplestreams.model import Item

CLIENT, OTHER_CLIENT = "192.0.2.1", "192.0.2.2"


@pytest.fixture
def squashfs(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250701", "squashfs", data=b"first")
    tree.publish()
    return item


@pytest.fixture
async def worker(
    tmp_path: Path, squashfs: TreeItem, tree: SignedTree, keyring: Path, clock: Clock
) -> AsyncIterator[Worker]:
    """Return a worker that has accepted a generation."""
    assert squashfs.size
    async with open_worker(tmp_path / "data", folder_mirror(tree, keyring), clock) as worker:
        await worker.check()
        yield worker


def served(worker: Worker) -> Edition:
    assert worker.editions.served is not None
    return worker.editions.served


async def found(worker: Worker, path: str, client: str = CLIENT) -> tuple[Item, Edition]:
    """Return what a client gets at the path of a document."""
    document = await worker.documents.find(path, client)
    assert document is not None
    return document


async def publish_another(worker: Worker, tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250722", "squashfs", data=b"second")
    tree.publish()
    before = served(worker)
    await worker.check()
    assert served(worker) is not before


async def test_an_item_of_a_generation_is_sent_until_another_one_is_served(
    worker: Worker, tree: SignedTree, squashfs: TreeItem
) -> None:
    """Which may name other bytes at its path."""
    item = worker.documents.find_item(squashfs.path)
    assert item is not None
    is_current = worker.documents.currency(item, None)
    assert is_current(CLIENT)
    await publish_another(worker, tree)
    assert not is_current(CLIENT)
    assert worker.documents.currency(item, None)(CLIENT)


async def test_each_client_is_sent_the_documents_of_the_index_that_it_read(
    worker: Worker, tree: SignedTree
) -> None:
    first = served(worker)
    index, of_index = await found(worker, INDEX)
    assert of_index is first
    is_index_current = worker.documents.currency(index, first)
    assert [is_index_current(one) for one in (CLIENT, OTHER_CLIENT)] == [True, True]
    await publish_another(worker, tree)
    assert not is_index_current(CLIENT)

    old_list, old = await found(worker, LIST)
    new_list, new = await found(worker, LIST, "192.0.2.3")
    assert old.generation.number == first.generation.number
    assert new is served(worker)
    of_old, of_new = worker.documents.currency(old_list, old), worker.documents.currency(new_list, new)
    assert [of_old(one) for one in (CLIENT, OTHER_CLIENT, "192.0.2.3")] == [True, True, False]
    assert [of_new(one) for one in (CLIENT, OTHER_CLIENT, "192.0.2.3")] == [False, False, True]
    worker.documents.currency(index, new)(CLIENT)
    assert of_new(CLIENT)


async def test_nothing_is_current_while_others_have_announced_what_is_not_loaded_here(
    worker: Worker, squashfs: TreeItem
) -> None:
    item = worker.documents.find_item(squashfs.path)
    assert item is not None
    is_current = worker.documents.currency(item, None)
    worker.editions.announcements._shared.announce_accepted(served(worker).generation.number + 1)
    assert not is_current(CLIENT)


async def test_a_digest_is_found_whatever_it_is_of(
    worker: Worker, tree: SignedTree, squashfs: TreeItem
) -> None:
    """Of a signed document both the file and the text in it are known."""
    edition = served(worker)
    for path, data in zip((INDEX, LIST), on_disk(tree, INDEX, LIST), strict=True):
        document = edition.generation.documents[path]
        assert document.text != document.digest == digest_of(data)
        for digest in (document.digest, document.text):
            assert edition.find_digest(digest) == (document.item, True)
    found = edition.find_digest(Digest(squashfs.digest))
    assert found is not None
    assert (found[0].path, found[1]) == (squashfs.path, False)
    assert edition.find_digest(digest_of(b"of nothing")) is None

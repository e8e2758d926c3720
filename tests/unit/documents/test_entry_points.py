"""Entry points besides the index, and files that indexes name and that are no lists."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.generations import INDEX, LIST, PRODUCT, on_disk
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree

from proxy.documents import assembling, stragglers
from proxy.documents.assembling import Assembler
from proxy.documents.draft import Draft
from proxy.documents.entry_points import entry_point_paths
from proxy.documents.generation import NO_DIGEST, Generation
from proxy.sources.document import CONFIRMED
from proxy.sources.origin import DocumentSource

MIRRORS = "streams/v1/mirrors.sjson"
INDEX2 = "streams/v1/index2.sjson"
FILE = "streams/v1/file.sjson"


@pytest.fixture(autouse=True)
def _nobody_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for all that a first draft may have, however much else the machine does."""
    monkeypatch.setattr(assembling, "_LATE_S", 120.0)
    monkeypatch.setattr(stragglers, "STRAGGLER_LIMIT_S", 120.0)


@pytest.fixture
async def worker(tmp_path: Path, tree: SignedTree, keyring: Path, clock: Clock) -> AsyncIterator[Worker]:
    """Return a worker whose origin has one list."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish(detached=True)
    async with open_worker(tmp_path / "data", folder_mirror(tree, keyring), clock) as worker:
        yield worker


async def assemble(worker: Worker, current: Generation | None = None) -> Draft:
    assembler: Assembler = worker.documents.checks._check._assembler
    [origin] = worker.documents.route.order()
    return await assembler.assemble(DocumentSource(origin, CONFIRMED), current, frozenset())


def accepted(draft: Draft) -> Generation:
    return draft.accepted(1, "keys", 0.0, None)


def signed(tree: SignedTree, text: str) -> bytes:
    assert tree.key is not None
    return tree.key.clearsign(text.encode())


def name(tree: SignedTree, *paths: str, **fields: Any) -> None:
    """Have the next index name files that are no lists."""
    tree.index_entries = {
        path: {"format": "text:1.0", "path": path, "datatype": "text", **fields} for path in paths
    }


def test_entry_points_come_in_the_flavour_of_the_index() -> None:
    assert entry_point_paths(INDEX) == [INDEX2, MIRRORS]
    assert entry_point_paths("streams/v1/index.json") == ["streams/v1/index2.json", "streams/v1/mirrors.json"]


async def test_entry_points_are_documents_of_the_draft(worker: Worker, tree: SignedTree) -> None:
    tree.write(INDEX2, on_disk(tree, INDEX)[0])
    tree.write(MIRRORS, signed(tree, "any words\n"))
    draft = await assemble(worker)
    assert draft.documents.keys() == {INDEX, LIST, INDEX2, MIRRORS}
    assert not draft.gaps
    assert not draft.unproved


async def test_those_that_are_not_there_are_not_asked_for_again_before_the_index_changes(
    worker: Worker, tree: SignedTree
) -> None:
    current = accepted(await assemble(worker))
    tree.write(MIRRORS, signed(tree, "any words\n"))
    assert MIRRORS not in (await assemble(worker, current)).documents
    tree.publish(detached=True)
    assert MIRRORS in (await assemble(worker, current)).documents


async def test_one_that_nothing_proves_is_left_out_and_asked_for_again(
    worker: Worker, tree: SignedTree
) -> None:
    tree.write(MIRRORS, b"no envelope")
    draft = await assemble(worker)
    assert draft.documents.keys() == {INDEX, LIST}
    assert draft.unproved[MIRRORS].startswith(f"{MIRRORS} is an entry point of the mirror, and cannot be")
    assert not draft.gaps
    tree.write(MIRRORS, signed(tree, "any words\n"))
    assert MIRRORS in (await assemble(worker, accepted(draft))).documents


async def test_one_that_was_there_makes_a_gap(worker: Worker, tree: SignedTree) -> None:
    tree.write(MIRRORS, signed(tree, "any words\n"))
    current = accepted(await assemble(worker))
    (tree.root / MIRRORS).unlink()
    draft = await assemble(worker, current)
    [gap] = draft.gaps
    assert gap.startswith(f"{MIRRORS} was there and cannot be had: ")
    assert MIRRORS not in draft.unproved
    # One of which only the dates are known was not there the last time.
    later = draft.accepted(2, "keys", 0.0, current)
    assert later.left[MIRRORS].digest == NO_DIGEST
    tree.publish(detached=True)
    assert not (await assemble(worker, later)).gaps


async def test_files_that_the_index_names_are_documents_too(worker: Worker, tree: SignedTree) -> None:
    tree.write(FILE, signed(tree, "any words\n"))
    name(tree, FILE, "streams/v1/none.sjson")
    tree.publish(detached=True)
    draft = await assemble(worker)
    assert draft.documents.keys() == {INDEX, LIST, FILE}
    assert not draft.unproved
    tree.write(FILE, b"no envelope")
    draft = await assemble(worker)
    assert draft.unproved[FILE].startswith(f"{FILE} is named by an index as 'text:1.0', and cannot be served")
    assert not draft.gaps


async def test_a_file_outside_of_streams_is_not_served(worker: Worker, tree: SignedTree) -> None:
    outside = "images/file.sjson"
    tree.write(outside, signed(tree, "any words\n"))
    name(tree, outside)
    tree.publish(detached=True)
    draft = await assemble(worker)
    assert outside not in draft.documents
    assert "only lists name what lies outside streams/" in draft.unproved[outside]


async def test_no_more_than_a_hundred_files_are_fetched(worker: Worker, tree: SignedTree) -> None:
    paths = [f"streams/v1/{number:03}.sjson" for number in range(102)]
    data = await asyncio.to_thread(signed, tree, "any words\n")
    for path in paths:
        tree.write(path, data)
    name(tree, *paths)
    tree.publish(detached=True)
    draft = await assemble(worker)
    found = [path for path in paths if path in draft.documents]
    assert len(found) == 100
    left_out = set(paths) - set(found)
    assert draft.unproved.keys() == left_out
    assert all("more than 100 such files" in why for why in draft.unproved.values())

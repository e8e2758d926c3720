"""Plain flavours and signatures beside signed documents, and the other way round where TLS is trusted."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.generations import INDEX, LIST, PRODUCT, SECOND_LIST, on_disk
from support.keys import SigningKey
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import MOUNT, Clock
from support.tree import SignedTree

from proxy.documents.assembling import Assembler
from proxy.documents.draft import Draft
from proxy.documents.generation import NO_DIGEST, SIBLING, Generation
from proxy.mirror import Mirror, Trust
from proxy.sources.document import CONFIRMED, Fetched, Validators
from proxy.sources.origin import DocumentSource

PLAIN = LIST.replace(".sjson", ".json")
PLAIN_INDEX = INDEX.replace(".sjson", ".json")
SECOND = SECOND_LIST.replace(".sjson", ".json")
BOTH = (".json", ".json.gpg")


@pytest.fixture
async def worker(tmp_path: Path, tree: SignedTree, keyring: Path, clock: Clock) -> AsyncIterator[Worker]:
    """Return a worker whose origin has two lists, in all flavours."""
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish(detached=True)
    async with open_worker(tmp_path / "data", folder_mirror(tree, keyring), clock) as worker:
        yield worker


@pytest.fixture
async def trusting(
    tmp_path: Path,
    tree: SignedTree,
    worker: Worker,  # noqa: ARG001 - it has the tree published
    clock: Clock,
) -> AsyncIterator[Worker]:
    """Return a worker of the same origin that trusts TLS."""
    mirror = Mirror(name="test", mount=MOUNT, origins=(f"{tree.root.as_uri()}/",), trust=Trust.TLS)
    async with open_worker(tmp_path / "trusting", mirror, clock) as trusting:
        yield trusting


async def assemble(worker: Worker, current: Generation | None, *flavours: str) -> Draft:
    assembler: Assembler = worker.documents.checks._check._assembler
    [origin] = worker.documents.route.order()
    return await assembler.assemble(DocumentSource(origin, CONFIRMED), current, frozenset(flavours))


def accepted(draft: Draft) -> Generation:
    return draft.accepted(1, "keys", 0.0, None)


def missing_from(draft: Draft) -> set[str]:
    return set(accepted(draft).refused)


async def test_each_signed_document_has_the_flavours_that_are_asked_for(
    worker: Worker, tree: SignedTree
) -> None:
    signed = {INDEX, LIST, SECOND_LIST}
    plain = {PLAIN_INDEX, PLAIN, SECOND}
    assert (await assemble(worker, None)).documents.keys() == signed
    assert (await assemble(worker, None, ".json")).documents.keys() == signed | plain
    draft = await assemble(worker, None, *BOTH)
    assert draft.documents.keys() == signed | plain | {f"{path}.gpg" for path in plain}
    for path in plain:
        document = draft.documents[path]
        assert (document.format, document.path) == (SIBLING, path)
        data = await worker.storage.threads.slow(worker.storage.store.read, document.digest)
        assert [data] == on_disk(tree, path)
    assert not draft.gaps
    # A signature without what it signs is of no use to anybody.
    alone = await assemble(worker, None, ".json.gpg")
    assert alone.documents.keys() == signed
    assert missing_from(alone) == {f"{path}.gpg" for path in plain}


async def test_plain_flavours_are_asked_for_ahead_only_where_there_is_nothing_yet(worker: Worker) -> None:
    [origin] = worker.documents.route.order()
    asked: list[str] = []

    class Recording(DocumentSource):
        async def fetch(self, path: str, validators: Validators) -> Fetched | None:
            asked.append(path)
            return await super().fetch(path, validators)

    assembler: Assembler = worker.documents.checks._check._assembler
    source = Recording(origin, CONFIRMED)
    draft = await assembler.assemble(source, None, frozenset({".json"}))
    assert asked.index(PLAIN_INDEX) < asked.index(LIST)
    assert [asked.count(path) for path in (PLAIN_INDEX, PLAIN, SECOND)] == [1, 1, 1]
    asked.clear()
    await assembler.assemble(source, accepted(draft), frozenset({".json"}))
    assert not {PLAIN_INDEX, PLAIN, SECOND}.intersection(asked)


async def test_a_flavour_that_is_known_is_fetched_again_only_with_its_document(
    worker: Worker, tree: SignedTree
) -> None:
    current = accepted(await assemble(worker, None, *BOTH))
    tree.write(PLAIN, b"{}")
    # The signed document is the same: so is its flavour.
    again = await assemble(worker, current, *BOTH)
    assert again.documents[PLAIN] == current.documents[PLAIN]
    assert not again.gaps
    # What the store has lost is fetched, and found wrong.
    lost = {**current.documents, PLAIN: replace(current.documents[PLAIN], digest=NO_DIGEST)}
    draft = await assemble(worker, replace(current, documents=lost), *BOTH)
    assert PLAIN not in draft.documents
    assert f"{PLAIN} does not fit the signed document yet" in draft.gaps


async def test_a_flavour_that_says_something_else_is_left_out(worker: Worker, tree: SignedTree) -> None:
    tree.write(PLAIN, on_disk(tree, SECOND)[0])
    tree.write(SECOND, b"no JSON")
    draft = await assemble(worker, None, *BOTH)
    assert draft.documents.keys() == {INDEX, LIST, SECOND_LIST, PLAIN_INDEX, f"{PLAIN_INDEX}.gpg"}
    assert missing_from(draft) == {PLAIN, SECOND, f"{PLAIN}.gpg", f"{SECOND}.gpg"}
    assert not draft.gaps
    assert "does not say what the signed" in accepted(draft).refused[PLAIN]


async def test_a_signature_by_another_key_is_left_out(worker: Worker, tree: SignedTree) -> None:
    with SigningKey("Somebody Else <else@example.test>") as other:
        tree.write(f"{PLAIN}.gpg", other.detach(on_disk(tree, PLAIN)[0]))
    draft = await assemble(worker, None, *BOTH)
    assert PLAIN in draft.documents
    assert missing_from(draft) == {f"{PLAIN}.gpg"}


async def test_a_flavour_that_has_vanished_makes_a_gap_if_it_was_there(
    worker: Worker, tree: SignedTree
) -> None:
    current = accepted(await assemble(worker, None, ".json"))
    tree.publish(detached=True)
    (tree.root / PLAIN).unlink()
    draft = await assemble(worker, current, *BOTH)
    assert draft.gaps == [f"{PLAIN} was there and has vanished"]
    assert PLAIN not in draft.documents
    assert SECOND in draft.documents
    first = await assemble(worker, None, ".json")
    assert PLAIN not in first.documents
    assert not first.gaps


async def test_where_tls_is_trusted_signed_flavours_are_passed_on(trusting: Worker, tree: SignedTree) -> None:
    plain = {PLAIN_INDEX, PLAIN, SECOND}
    flavours = (".sjson", ".json.gpg", ".json")
    draft = await assemble(trusting, None, *flavours)
    assert draft.index_path == PLAIN_INDEX
    assert draft.documents.keys() == plain | {INDEX, LIST, SECOND_LIST} | {f"{path}.gpg" for path in plain}
    # No key is known here; but what says something else is not passed on.
    tree.write(LIST, on_disk(tree, SECOND_LIST)[0])
    with SigningKey("Somebody Else <else@example.test>") as other:
        tree.write(SECOND_LIST, other.clearsign(on_disk(tree, SECOND)[0]))
        tree.write(f"{SECOND}.gpg", other.detach(on_disk(tree, SECOND)[0]))
    tree.write(INDEX, b"no envelope")
    draft = await assemble(trusting, None, *flavours)
    assert missing_from(draft) == {LIST, INDEX}
    assert {SECOND_LIST, f"{SECOND}.gpg"} <= draft.documents.keys()

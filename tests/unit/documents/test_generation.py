"""What a generation says of itself, of its stream, and of what later ones leave out."""

from dataclasses import replace

import pytest
from support.drafted import INDEX, a_document, a_generation
from support.generations import PRODUCT, SECOND_LIST
from support.mirrors import Worker
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.digest import Digest
from proxy.documents.flavours import flavour_of
from proxy.documents.generation import (
    NO_DIGEST,
    SIBLING,
    Document,
    Edition,
    Generation,
    GenerationLost,
    check_stored,
    load_edition,
    read_lists,
)
from proxy.simplestreams.catalog import Catalog

LIST = "streams/v1/one.sjson"
OTHER = "streams/v1/two.sjson"
PLAIN_INDEX = "streams/v1/index.json"


def test_a_generation_has_its_index() -> None:
    with pytest.raises(ValueError, match="not among its documents"):
        a_generation(a_document(LIST), index_path=INDEX)


@pytest.mark.parametrize("field", ["digest", "text"])
def test_a_document_has_digests(field: str) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        a_document(LIST, **{field: Digest("../../etc/passwd")})


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (a_generation(a_document(INDEX), a_document(LIST)), True),
        (a_generation(a_document(INDEX), a_document(LIST), number=2, gaps=("a gap",), left={}), True),
        (a_generation(a_document(INDEX), a_document(LIST), refused={OTHER: "for another reason"}), False),
        (a_generation(a_document(INDEX), a_document(LIST), absent=(OTHER,)), False),
        (a_generation(a_document(INDEX), a_document(LIST, "of other bytes")), False),
        (a_generation(a_document(INDEX)), False),
    ],
)
def test_generations_say_the_same_that_are_served_alike(other: Generation, *, is_same: bool) -> None:
    one = a_generation(a_document(INDEX), a_document(LIST))
    assert one.says_the_same(other) is is_same


def test_a_stream_is_what_the_index_named_or_else_what_it_had() -> None:
    documents = a_document(INDEX), a_document(LIST, content_id="one"), a_document(OTHER, content_id="two")
    assert a_generation(*documents).stream == {"one", "two"}
    assert a_generation(*documents, content_ids=("one", "three")).stream == {"one", "three"}


def test_of_what_is_left_out_the_dates_stay() -> None:
    gone = a_document(OTHER, updated=5.0, etag='"tag"', last_modified="then")
    sibling = a_document("streams/v1/two.json", format=SIBLING)
    before = a_document("streams/v1/before.sjson", updated=1.0)
    generation = a_generation(
        *(a_document(INDEX), a_document(LIST), gone, sibling), left={before.path: before}
    )
    left = generation.left_by({INDEX, LIST})
    assert left == {
        before.path: replace(before, digest=NO_DIGEST),
        OTHER: replace(gone, digest=NO_DIGEST, etag=None, last_modified=None),
    }
    assert generation.left_by({INDEX, LIST, OTHER, before.path}) == {}


def test_what_has_come_back_counts_by_its_new_dates() -> None:
    generation = a_generation(
        *(a_document(INDEX), a_document(LIST, updated=9.0)), left={LIST: a_document(LIST, updated=1.0)}
    )
    assert generation.left_by({INDEX})[LIST].updated == 9.0


def test_the_dates_of_the_last_thousand_stay() -> None:
    left = {f"streams/v1/{number}.sjson": a_document(f"streams/v1/{number}.sjson") for number in range(1100)}
    kept = a_generation(a_document(INDEX), left=left).left_by({INDEX})
    assert list(kept) == list(left)[100:]


def test_of_dates_alone_nothing_can_be_served() -> None:
    generation = a_generation(a_document(INDEX, updated=3.0), a_document(LIST, updated=4.0, etag='"tag"'))
    bare = generation.dates_only()
    assert [one.digest for one in bare.documents.values()] == [NO_DIGEST, NO_DIGEST]
    assert [one.updated for one in bare.documents.values()] == [3.0, 4.0]
    assert bare.documents[LIST].etag is None


def test_anything_may_replace_what_is_unbound() -> None:
    one = a_document(LIST, updated=4.0, signed_at=5.0, is_ahead=True, content_id="one")
    generation = a_generation(a_document(INDEX), one, left={OTHER: one}, content_ids=("one",)).unbound()
    assert generation.documents[LIST] == a_document(LIST)
    assert (generation.left, generation.stream) == ({}, frozenset())


def edition(*documents: Document) -> Edition:
    return Edition(generation=a_generation(*documents), catalog=Catalog([]))


def test_a_document_is_found_by_its_bytes_or_by_its_text() -> None:
    one = a_document(LIST)
    found = edition(a_document(INDEX), one)
    assert found.find_digest(one.digest) == (one.item, True)
    assert found.find_digest(one.text) == (one.item, True)
    assert found.find_digest(NO_DIGEST) is None
    assert found.served(LIST) == found.document(LIST) == one.item
    assert found.served(OTHER) is None


@pytest.mark.parametrize(
    ("index", "path", "flavour"),
    [
        (a_document(INDEX), "streams/v1/one.json", ".json"),
        (a_document(INDEX), "streams/v1/one.json.gpg", ".json.gpg"),
        (a_document(INDEX), LIST, None),
        (a_document(INDEX), "streams/v1/two.json", None),
        (a_document(INDEX), "streams/v1/one", None),
        (a_document(PLAIN_INDEX), "streams/v1/one.json.gpg", ".json.gpg"),
        (a_document(PLAIN_INDEX), LIST, ".sjson"),
        (a_document(PLAIN_INDEX), OTHER, None),
        (a_document(PLAIN_INDEX, fingerprint="F"), LIST, None),
        (a_document(PLAIN_INDEX, fingerprint="F"), "streams/v1/one.json.gpg", None),
    ],
)
def test_which_flavour_of_a_document_a_path_is(index: Document, path: str, flavour: str | None) -> None:
    base = LIST if index.path == INDEX else "streams/v1/one.json"
    assert flavour_of(path, a_generation(index, a_document(base))) == flavour


def a_with(generation: Generation, document: Document) -> Generation:
    return replace(generation, documents={**generation.documents, document.path: document})


async def test_what_the_store_has_lost_is_told(worker: Worker, tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    item = tree.add_item(PRODUCT, "20250701", "initrd", content_id="second")
    tree.publish()
    accepted = await worker.check()
    storage, reading = worker.storage, worker.records._reading
    slow, store = storage.threads.slow, storage.store

    edition = await slow(load_edition, store, reading, accepted)
    found = edition.find_digest(item.digest)
    assert found is not None
    assert (found[0].path, found[1]) == (item.path, False)
    lists = await slow(list, read_lists(store, accepted))
    assert {one.content_id for one in lists} == {MAAS_CONTENT_ID, "second"}
    lost = accepted.documents[SECOND_LIST]
    sibling = replace(lost, format=SIBLING, digest=NO_DIGEST, path="streams/v1/second.json")
    await slow(check_stored, store, a_with(accepted, sibling))
    for changed in (replace(lost, digest=NO_DIGEST), replace(lost, text=NO_DIGEST)):
        with pytest.raises(GenerationLost, match="the store has lost"):
            await slow(load_edition, store, reading, a_with(accepted, changed))
        with pytest.raises(GenerationLost, match="the store has lost"):
            await slow(list, read_lists(store, a_with(accepted, changed)))
    unreadable = replace(lost, text=await slow(store.put, b"no list"))
    with pytest.raises(GenerationLost, match="cannot be loaded"):
        await slow(load_edition, store, reading, a_with(accepted, unreadable))

"""Which paths may be documents: what lies nowhere near one is looked up among the items at once."""

import pytest

from proxy.digest import Digest
from proxy.documents.generation import Document, Edition, Generation
from proxy.documents.loaded import LoadedEditions
from proxy.simplestreams.catalog import Catalog

DIGEST = Digest("a" * 64)


def edition(number: int, *paths: str) -> Edition:
    documents = {
        path: Document(path=path, format="products:1.0", digest=DIGEST, size_bytes=1, text=DIGEST)
        for path in paths
    }
    generation = Generation(
        number=number,
        keyring="k",
        accepted_at=0.0,
        checked_at=0.0,
        index_path=paths[0],
        documents=documents,
    )
    return Edition(generation=generation, catalog=Catalog([]))


@pytest.fixture
def loaded() -> LoadedEditions:
    return LoadedEditions(retain_s=100.0, clock=lambda: 1000.0)


def test_documents_lie_where_the_index_says(loaded: LoadedEditions) -> None:
    assert not loaded.may_be_document("streams/v1/index.sjson")
    loaded.serve(edition(1, "streams/v1/index.sjson", "streams/v1/list.sjson"))

    assert loaded.may_be_document("streams/v1/index.json")
    assert loaded.may_be_document("streams/v1/no such list")
    assert not loaded.may_be_document("noble/amd64/squashfs")
    assert not loaded.may_be_document("streams")
    assert not loaded.may_be_document("images/list.json")


def test_lists_and_their_flavours_may_lie_beside_items(loaded: LoadedEditions) -> None:
    loaded.serve(edition(1, "streams/v1/index.sjson", "images/list.sjson", "top.sjson"))

    assert loaded.may_be_document("images/list.json")
    assert loaded.may_be_document("top.json.gpg")
    assert not loaded.may_be_document("noble/amd64/squashfs")


@pytest.mark.parametrize("is_of_another_run", [True, False])
def test_what_was_replaced_lately_counts(loaded: LoadedEditions, is_of_another_run: bool) -> None:
    old = edition(1, "streams/v1/index.sjson", "old/list.sjson")
    if is_of_another_run:
        loaded.serve(edition(2, "streams/v1/index.sjson"))
        loaded.add_replaced(old, 990.0)
    else:
        loaded.serve(old)
        loaded.serve(edition(2, "streams/v1/index.sjson"))

    assert loaded.may_be_document("old/list.sjson")

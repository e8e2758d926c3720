"""The files of a tree, from the contents of a generation."""

from proxy.bundles.contents import Contents, File
from proxy.digest import digest_of
from proxy.jobs.trees.files import tree_files

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/list.sjson"


def file(path: str, data: bytes) -> File:
    return File(path=path, sha256=digest_of(data), size=len(data))


def test_documents_come_first_with_their_own_dates_and_items_with_that_of_the_index() -> None:
    contents = Contents(
        mirror="maas",
        generation=3,
        index_path=INDEX,
        updated=2000.5,
        accepted_at=5000.0,
        documents=(file(INDEX, b"index"), file(LIST, b"list")),
        items=(file("noble/squashfs", b"squashfs"),),
    )
    found = tree_files(contents, {digest_of(b"list"): 1500.0})
    assert [(one.path, one.modified_s, one.is_document) for one in found] == [
        (INDEX, 2000, True),
        (LIST, 1500, True),
        ("noble/squashfs", 2000, False),
    ]
    # What another generation says at that path does not count.
    assert tree_files(contents, {digest_of(b"another list"): 1500.0})[1].modified_s == 2000

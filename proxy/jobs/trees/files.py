"""From the contents of a generation to the files of its tree."""

from collections.abc import Mapping

from proxy.bundles.contents import Contents
from proxy.digest import Digest
from proxy.trees.dates import document_dates, item_date
from proxy.trees.planning import TreeFile


def tree_files(contents: Contents, stated: Mapping[Digest, float | None]) -> list[TreeFile]:
    """Return the files of a tree, documents first; `stated` are the dates that documents state, if known."""
    updated = {one.path: stated.get(one.sha256) for one in contents.documents}
    updated[contents.index_path] = contents.updated
    dates = document_dates(updated, contents.index_path, contents.accepted_at)
    items_date = item_date(contents.updated, contents.accepted_at)
    documents = [
        TreeFile(
            path=one.path,
            digest=one.sha256,
            size_bytes=one.size,
            modified_s=dates[one.path],
            is_document=True,
        )
        for one in contents.documents
    ]
    items = [
        TreeFile(path=one.path, digest=one.sha256, size_bytes=one.size, modified_s=items_date)
        for one in contents.items
    ]
    return [*documents, *items]

"""An item of three MiB, and a second origin of the same tree."""

import pytest
from support.tree import SignedTree, TreeItem
from support.upstream_faults import PRODUCT, SIZE


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item of three MiB."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=SIZE)
    tree.publish()
    return item

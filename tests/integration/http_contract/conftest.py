"""What is published: a tree like MAAS's, or one image."""

from pathlib import Path

import pytest
from support.keys import SigningKey
from support.maas import maas_tree
from support.tree import SignedTree, TreeItem

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas.stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def maas(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Publish what images.maas.io has, at a thousandth of its size."""
    return maas_tree(tmp_path / "upstream", key)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=2 * MIB)
    tree.publish()
    return item

"""A site, a tree to be carried to it, and a key that it does not know."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.keys import SigningKey
from support.plain_importer import Site, add_version
from support.tree import SignedTree


@pytest.fixture(scope="module")
def other_key() -> Iterator[SigningKey]:
    with SigningKey("An Operator <operator@example.test>") as other:
        yield other


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    tree = SignedTree(tmp_path / "upstream", key)
    add_version(tree, "20260101")
    return tree


@pytest.fixture
def site(tmp_path: Path, keyring: Path) -> Site:
    return Site(tmp_path, keyring)

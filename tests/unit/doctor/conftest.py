"""A good mirror for MAAS, made once, and its server."""

from collections.abc import AsyncIterator

import pytest
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> SignedTree:
    """Return a tree that MAAS is content with."""
    return maas_tree(tmp_path_factory.mktemp("good") / "tree", key, scale=1 / 10_000)


@pytest.fixture
async def mirror_server(good: SignedTree) -> AsyncIterator[Origin]:
    """Return a server of the good tree, which misbehaves on demand."""
    async with Origin(good.root) as origin:
        yield origin

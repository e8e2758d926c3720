"""A good mirror for MAAS, made once, and the doctor's tools."""

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.examining import Doctor
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory, key: SigningKey) -> SignedTree:
    """Return a tree that MAAS is content with."""
    return maas_tree(tmp_path_factory.mktemp("good") / "tree", key, scale=1 / 10_000)


@pytest.fixture
def doctor(keyring: Path) -> Iterator[Doctor]:
    """Return the doctor, with the keyring of the session's key."""
    with ExitStack() as stack:
        tools = Doctor(stack, keyring)
        tools.judge()
        yield tools


@pytest.fixture
async def mirror_server(good: SignedTree) -> AsyncIterator[Origin]:
    """Return a server of the good tree, which misbehaves on demand."""
    async with Origin(good.root) as origin:
        yield origin

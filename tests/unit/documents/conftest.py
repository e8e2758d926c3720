"""A worker with an empty data directory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.descriptors import _closes_its_files  # noqa: F401 - an autouse fixture
from support.mirrors import Worker, folder_mirror, open_worker
from support.running import Clock
from support.tree import SignedTree

from proxy.mirror import Mirror


@pytest.fixture
def mirror(tree: SignedTree, keyring: Path) -> Mirror:
    """Return a mirror of the tree's folder."""
    return folder_mirror(tree, keyring)


@pytest.fixture
async def worker(tmp_path: Path, mirror: Mirror, clock: Clock) -> AsyncIterator[Worker]:
    """Return a worker with an empty data directory."""
    async with open_worker(tmp_path / "data", mirror, clock) as worker:
        yield worker

"""An item of 3 MiB at a loopback origin, and one process that fetches it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.descriptors import _closes_its_files  # noqa: F401 - an autouse fixture
from support.origin import Origin
from support.running import Clock
from support.transfers import Process, run_process
from support.tree import SignedTree, TreeItem

MIB = 1024 * 1024


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def listing(tree: SignedTree) -> TreeItem:
    """Return an item with its bytes; `listed` makes of it what a list says."""
    return tree.add_item("product", "1", "squashfs", size=3 * MIB)


@pytest.fixture
async def process(data_dir: Path, origin: Origin, clock: Clock) -> AsyncIterator[Process]:
    async with run_process(data_dir, origin, clock=clock) as process:
        yield process

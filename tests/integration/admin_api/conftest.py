"""A proxy with two mirrors and a rule, and items for orders to aim at."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.admin_api import list_two_versions, run_with_rule
from support.origin import Origin
from support.running import Clock, RunningProxy
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror


@pytest.fixture
def items(tree: SignedTree) -> dict[str, TreeItem]:
    """Return two items of each of two versions, by version and name."""
    return list_two_versions(tree)


@pytest.fixture
async def proxy(
    tmp_path: Path, mirror: Mirror, origin: Origin, keyring: Path, clock: Clock
) -> AsyncIterator[RunningProxy]:
    """Return a proxy with two mirrors and a rule."""
    async with run_with_rule(tmp_path, mirror, origin, keyring, clock) as proxy:
        yield proxy

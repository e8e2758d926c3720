"""A proxy that holds a small item, and a larger one on demand."""

from collections.abc import AsyncIterator

import pytest
from support.ready_replies import KIB, PRODUCT, held
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a small item."""
    item = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=4 * KIB)
    tree.publish()
    return item


@pytest.fixture
async def wire(proxy: RunningProxy, item: TreeItem) -> AsyncIterator[Wire]:
    """Return a connection to a proxy that holds the item."""
    await proxy.read(item.path)
    await proxy.fills_ended()
    async with Wire.to(proxy.base) as wire:
        yield wire


@pytest.fixture
async def large(proxy: RunningProxy, tree: SignedTree) -> TreeItem:
    """Return an item that no ready reply holds whole."""
    return await held(proxy, tree, "squashfs", 3 * KIB * KIB + 17)

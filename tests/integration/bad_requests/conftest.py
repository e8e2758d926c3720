"""One image, and an origin that should hear nothing."""

import pytest
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image, which so many products share that the index is longer than a kilobyte."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * KIB * KIB)
    for n in range(40):
        tree.add_item(f"{PRODUCT}-{n}", "20250718", "squashfs", path=item.path)
    tree.publish()
    return item


@pytest.fixture
async def quiet_origin(proxy: RunningProxy, origin: Origin, item: TreeItem) -> Origin:
    """Return the origin, from which the proxy has all lists and needs nothing more."""
    assert (await proxy.read(item.path, "HEAD")).status == 200
    await origin.idle()
    origin.clear()
    return origin

"""Items of given sizes, and a store that is limited to some of them."""

from collections.abc import Callable
from pathlib import Path

from proxy.config.config import Config
from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from support.exchange import Reply, read
from support.running import RunningProxy, make_config
from support.tree import SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


def add_items(tree: SignedTree, *sizes: int) -> list[TreeItem]:
    """Publish items of these sizes."""
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=size) for n, size in enumerate(sizes)]
    tree.publish()
    return items


def limited(tmp_path: Path, mirror: Mirror, limit_bytes: int) -> Config:
    """Return a configuration whose store takes so much besides the documents of these tests."""
    documents = sum(path.stat().st_size for path in (tmp_path / "upstream/streams").rglob("*.sjson"))
    limits = StoreLimits(limit_bytes=limit_bytes + 2 * documents, min_free_bytes=0)
    return make_config(tmp_path / "data", mirror, cache=limits)


def is_right(reply: Reply, item: TreeItem) -> bool:
    return reply.status == 200 and reply.is_complete and reply.body == item.read()


async def fetch(proxy: RunningProxy, item: TreeItem) -> Reply:
    """Read an item, and wait until the store has settled."""
    reply = await read(proxy.url(item.path))
    assert is_right(reply, item)
    await proxy.fills_ended()
    return reply


def stored(proxy: RunningProxy, *items: TreeItem) -> list[bool]:
    return [proxy.store.has(Digest(item.digest)) for item in items]


async def in_ledger(proxy: RunningProxy, use: Callable[[Ledger], object]) -> object:
    """Use the ledger where its connections belong."""
    notes = proxy.cache.delivery._usage
    await notes.flush()
    return await notes._threads.ledger(use, proxy.cache.storage.ledger)

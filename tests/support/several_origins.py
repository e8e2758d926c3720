"""A proxy with several origins of one tree."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from proxy.digest import Digest
from proxy.sources.options import UpstreamOptions
from support.exchange import Reply, read
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem

KIB = 1024
MIB = 1024 * KIB
SIZE = MIB
LATE = SIZE - 50 * KIB
"""A byte that no client has got before the proof."""
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
OPTIONS = UpstreamOptions(connect_timeout_s=5, stall_timeout_s=5, give_up_after_s=1)


def add_items(tree: SignedTree, count: int) -> list[TreeItem]:
    items = [tree.add_item(PRODUCT, "20250718", f"file-{n}", size=SIZE) for n in range(count)]
    tree.publish()
    return items


@dataclass
class Several:
    """A proxy with several origins of one tree."""

    proxy: RunningProxy
    origins: list[Origin]

    async def stats(self) -> dict[str, Any]:
        async with self.proxy.get("/-/stats") as response:
            found: dict[str, Any] = await response.json()
        return found

    async def wrong_copies(self) -> list[int]:
        """Return how many wrong copies are counted for each origin, once nothing is being fetched."""
        await self.proxy.fills_ended()
        told = (await self.stats())["origins"]
        return [told[origin.url]["wrong_copies"] for origin in self.origins]

    async def ask(self, item: TreeItem) -> Reply:
        return await read(self.proxy.url(item.path))

    async def kept(self, item: TreeItem) -> bool:
        await self.proxy.fills_ended()
        return self.proxy.store.has(Digest(item.digest))

    def counts(self, item: TreeItem) -> list[int]:
        """Return how often each origin was asked for an item."""
        return [origin.count(item.path) for origin in self.origins]


Start = Callable[..., Any]


def is_right(reply: Reply, item: TreeItem) -> bool:
    return reply.status == 200 and reply.is_complete and reply.body == item.read()

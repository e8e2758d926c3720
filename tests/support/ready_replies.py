"""Replies that are ready: how a request comes so often that its reply is, and whether it was used."""

from typing import Any

from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = f"{MOUNT}streams/v1/index.sjson"
LEARNING = 3
"""So many times a request must come before its reply is ready."""


class Slow:
    """Counts the requests that were answered the usual way."""

    def __init__(self, proxy: RunningProxy) -> None:
        self.times = 0
        self._resolve = proxy.cache.delivery.resolve
        proxy.cache.delivery.resolve = self  # type: ignore[method-assign, assignment]

    async def __call__(self, *arguments: Any) -> Any:
        self.times += 1
        return await self._resolve(*arguments)


def comparable(reply: WireReply) -> tuple[int, list[tuple[str, str]], bytes]:
    """Return all of a reply but what tells the time."""
    headers = [(name, value) for name, value in reply.headers.items() if name not in {"Date", "Age"}]
    return reply.status, headers, reply.body


async def warm(wire: Wire, head: bytes, method: str = "GET") -> WireReply:
    """Ask until the reply is ready; return the last that was made anew."""
    for _ in range(LEARNING):
        await wire.send(head)
        reply = await wire.reply(method)
    return reply


async def held(proxy: RunningProxy, tree: SignedTree, ftype: str, size: int) -> TreeItem:
    """Publish another item, and have the proxy fetch it."""
    item = tree.add_item(PRODUCT, "20250718", ftype, size=size)
    tree.publish()
    await proxy.documents.checks.revalidate()
    await proxy.read(item.path)
    await proxy.fills_ended()
    return item

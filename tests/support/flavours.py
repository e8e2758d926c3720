"""The flavours of one tree's documents: upstream, and as the proxy serves them."""

from typing import Any

from support.running import RunningProxy
from support.tree import SignedTree


def on_disk(tree: SignedTree, *paths: str) -> list[bytes]:
    """Read documents as upstream has them now."""
    return [(tree.root / path).read_bytes() for path in paths]


def drop(tree: SignedTree, *paths: str) -> None:
    for path in paths:
        (tree.root / path).unlink()


async def bodies(proxy: RunningProxy, *paths: str) -> list[bytes]:
    """Read documents from the proxy, one after the other."""
    replies = [await proxy.read(path) for path in paths]
    assert [reply.status for reply in replies] == [200] * len(paths)
    return [reply.body for reply in replies]


async def stats(proxy: RunningProxy) -> dict[str, Any]:
    async with proxy.get("/-/stats") as response:
        body = await response.json()
    found: dict[str, Any] = body["mirrors"]["test"]
    return found

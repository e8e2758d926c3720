"""Rows of the ledger about failures that another release wrote, or hands: they cost no client an item."""

from typing import Any

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem

INDEX = "streams/v1/index.sjson"
ORIGIN = "ORIGIN"
"""Stands for the origin's name."""
ODD: tuple[Any, ...] = (
    0,
    7.5,
    True,
    "text",
    [],
    ["text"],
    [1, 2],
    [[1, 2, 3]],
    [["a", 0, 10, "digest", 5]],
    [["a", 0, 10**30, "digest"]],
    {},
    {ORIGIN: None},
    {ORIGIN: 5},
    {ORIGIN: "text"},
    {ORIGIN: []},
    {ORIGIN: ["text"]},
    {ORIGIN: ["text", "many", 5]},
    {ORIGIN: ["text", 1, None]},
    {ORIGIN: ["text", 1, 10**400]},
    {ORIGIN: ["text", -5, 1.0]},
    {ORIGIN: ["text", 1, 5, "more"]},
    {ORIGIN: {"problem": "text"}},
    {ORIGIN: 10**400},
    {"path": 5, "problem": None, "at": "now", "distrusted_until": []},
    {"path": "a", "problem": "b", "at": 1, "distrusted_until": 10**400},
)


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item("product", "1", "kernel", size=200_000)
    tree.publish()
    return item


def named(value: Any, origin: Origin) -> Any:
    """Return a row with the origin's name in it."""
    if isinstance(value, dict):
        return {origin.url if name == ORIGIN else name: kept for name, kept in value.items()}
    return value


async def write(proxy: RunningProxy, item: TreeItem, origin: Origin, value: Any) -> None:
    """Write a row wherever a failure of the item would be noted."""
    storage = proxy.cache.storage
    of_item = f"{item.digest}/{item.size}"
    keys = (f"bad/{of_item}", f"trouble/{of_item}", f"mixed/{of_item}", f"absent/{item.path}")
    for key in (*keys, f"liar/{origin.url}"):
        await storage.threads.ledger(storage.ledger.write, key, named(value, origin))


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.50}")
async def test_an_odd_row_tells_nothing(
    proxy: RunningProxy, origin: Origin, item: TreeItem, value: Any
) -> None:
    await read(proxy.url(INDEX))
    await write(proxy, item, origin, value)

    got = await read(proxy.url(item.path))

    assert (got.status, got.body) == (200, item.read())
    await proxy.fills_ended()
    assert proxy.layout.path(item.digest).exists()
    async with proxy.get("/-/stats") as response:
        assert response.status == 200


@pytest.mark.parametrize("value", ODD, ids=lambda value: f"{value!r:.50}")
async def test_an_odd_row_is_replaced_by_what_is_found_out(
    proxy: RunningProxy, origin: Origin, item: TreeItem, value: Any
) -> None:
    await read(proxy.url(INDEX))
    await write(proxy, item, origin, value)
    origin.fault(item.path, Fault(corrupt_at=5))

    assert not (await read(proxy.url(item.path))).is_complete
    await proxy.fills_ended()

    async with proxy.get("/-/stats") as response:
        told = (await response.json())["origins"][origin.url]
    assert told["last_wrong"]["path"] == item.path

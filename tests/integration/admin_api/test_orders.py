"""Orders that cannot be followed change nothing, and orders of any length are read whole."""

import json

import pytest
from support.admin_api import (
    ACTIONS,
    LOCAL,
    act,
    fetch,
    here,
    pinned,
    post,
    refused,
)
from support.running import RunningProxy
from support.tree import TreeItem
from support.wire import Wire, request


@pytest.mark.parametrize("action", ["pin", "evict", "purge"])
async def test_an_aim_is_needed(proxy: RunningProxy, items: dict[str, TreeItem], action: str) -> None:
    """Nobody purges everything by saying too little."""
    await fetch(proxy, *items.values())
    orders: tuple[object, ...] = ({}, {"filters": []}, {"mirrors": ["test"]}, None, b"")
    for order in orders:
        assert "say which items are meant" in await refused(proxy, action, order)
    assert here(proxy, items) == set(items)


@pytest.mark.parametrize(
    ("action", "order", "why"),
    [
        ("unpin", {"filter": ["arch=amd64"]}, "no field 'filter'"),
        ("purge", {"filters": ["arch=amd64"], "Digests": []}, "no field 'Digests'"),
        ("evict", {"filters": ["arch=amd64"], "name": "x"}, "no field 'name'"),
        ("scrub", {"now": True}, "no field 'now'"),
        ("purge", {"filters": ["arch=amd64"], "arch": ["arm64"]}, "'arch' goes with 'maas'"),
        ("purge", {"filters": "arch=amd64"}, "'filters' must be a list"),
        ("purge", {"filters": [1]}, "'filters' must be a list"),
        ("purge", {"filters": {"arch": "amd64"}}, "'filters' must be a list"),
        ("purge", {"filters": ["arch"]}, "arch"),
        ("purge", {"filters": ["path~("]}, "path~("),
        ("purge", {"filters": ["path=no/such/path"]}, "matches nothing"),
        ("purge", {"digests": ["abc"]}, "abc"),
        ("purge", {"digests": ["../../../../etc/passwd"]}, "passwd"),
        ("purge", {"digests": ["g" * 64]}, "ggg"),
        ("purge", {"max": 0}, "'max' must be"),
        ("purge", {"max": -1}, "'max' must be"),
        ("purge", {"max": True}, "'max' must be"),
        ("purge", {"max": 1.0}, "'max' must be"),
        ("purge", {"max": "1"}, "'max' must be"),
        ("purge", {"max": 1, "mirrors": ["third"]}, "there are: test, second"),
        ("pin", {"max": 1, "name": 7}, "'name' must be a text"),
        ("pin", {"max": 1, "name": None}, "'name' must be a text"),
        ("refresh", {"mirrors": ["third"]}, "there are: test, second"),
        ("refresh", {"mirrors": "test"}, "'mirrors' must be a list"),
        ("prefetch", {}, "there are: lab"),
        ("prefetch", {"rule": "none"}, "there are: lab"),
        ("prefetch", {"rule": ["lab"]}, "'rule' must be a text"),
        ("offline", {}, "'on' must be"),
        ("offline", {"on": "off"}, "'on' must be"),
        ("offline", {"on": 0}, "'on' must be"),
        ("scrub", [], "JSON object"),
        ("scrub", "text", "JSON object"),
        ("scrub", b"null", "JSON object"),
        ("scrub", b"{", "no JSON"),
        ("scrub", b"\xff\xfe", "no JSON"),
        ("scrub", b"on=true", "no JSON"),
        ("scrub", b"[" * 100_000, "no JSON"),
        ("scrub", b"1" * 10_000, "no JSON"),
    ],
)
async def test_a_wrong_order_changes_nothing_and_says_what_is_wrong(
    proxy: RunningProxy, items: dict[str, TreeItem], action: str, order: object, why: str
) -> None:
    """A field that is misspelt, above all: without it the rest might mean everything."""
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"])

    assert why in await refused(proxy, action, order)

    assert here(proxy, items) == await pinned(proxy, items) == set(items)
    assert not proxy.cache.offline.is_on


async def test_an_action_that_is_none_is_told_with_those_there_are(proxy: RunningProxy) -> None:
    why = await refused(proxy, "destroy", {}, status=404)
    assert all(action in why for action in ACTIONS)


async def test_a_body_may_come_in_pieces(proxy: RunningProxy, items: dict[str, TreeItem]) -> None:
    """As the network cuts it; each piece is waited for."""
    body = json.dumps({"digests": [item.digest for item in items.values()]}).encode()
    async with Wire.to(proxy.base) as wire:
        head = request("/-/api/v1/pin", "POST", **LOCAL, Content_Length=str(len(body)))
        await wire.send(head + body[:20])
        # Its answer tells that the proxy has read the first piece.
        assert (await proxy.read("/-/health")).status == 200
        await wire.send(body[20:40])
        assert (await proxy.read("/-/health")).status == 200
        await wire.send(body[40:])
        assert (await wire.reply()).status == 200

    assert await pinned(proxy, items) == set(items)


async def test_a_long_body_is_read_whole_and_a_huge_one_is_refused(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    digests = [item.digest for item in items.values()]
    await act(proxy, "pin", digests=[f"{number:064x}" for number in range(10_000)] + digests)
    assert await pinned(proxy, items) == set(items)

    huge = await post(proxy, "unpin", body=b'{"name": "' + b"x" * 2 * 1024**2 + b'"}')

    assert huge.status == 413
    assert await pinned(proxy, items) == set(items)

"""A page for people in place of an item or index is neither passed on nor kept."""

import asyncio
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock
from support.tree import SignedTree, TreeItem
from support.upstream_faults import (
    INDEX,
    LOGIN_PAGE,
    SIZE,
    impatient_proxy,
    is_cut,
    kept,
)

from proxy.mirror import Mirror


@pytest.mark.parametrize("body", [LOGIN_PAGE, b"", b"x" * SIZE], ids=["login page", "empty", "same length"])
async def test_a_page_in_place_of_an_item_is_neither_passed_on_nor_kept(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, body: bytes
) -> None:
    async with impatient_proxy(tmp_path, mirror) as proxy:
        origin.fault(item.path, Fault(body=body))

        replies = await asyncio.gather(*(read(proxy.url(item.path)) for _ in range(3)))

        assert all(is_cut(reply) for reply in replies)
        assert all(len(reply.body) < SIZE for reply in replies)
        assert not await kept(proxy, item)
        assert is_cut(await read(proxy.url(item.path)))
    assert origin.count(item.path) == 1


async def test_a_login_page_in_place_of_the_index_is_not_passed_on(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    """Neither before there is a verified index, nor after."""
    async with impatient_proxy(tmp_path, mirror, clock=clock) as proxy:
        origin.fault("*", Fault(body=LOGIN_PAGE))
        reply = await read(proxy.url(INDEX))
        assert reply.status == 503
        assert b"hotel" not in reply.body

        origin.heal()
        clock.advance(60)
        published = (tree.root / INDEX).read_bytes()
        assert (await read(proxy.url(INDEX))).body == published

        origin.fault("*", Fault(body=LOGIN_PAGE))
        clock.advance(3600)
        await proxy.documents.checks.revalidate()
        assert (await read(proxy.url(INDEX))).body == published
        assert (await read(proxy.url(item.path))).status in {0, 200}

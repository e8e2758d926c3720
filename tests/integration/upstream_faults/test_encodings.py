"""Bodies that come in chunks, compressed, or are only said to be."""

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import Clock, RunningProxy
from support.tree import SignedTree, TreeItem
from support.upstream_faults import INDEX, PRODUCT, is_cut, is_right, kept


@pytest.mark.parametrize("coding", ["chunked", "Chunked", "identity, chunked", "gzip, chunked"])
async def test_chunks_are_read_to_the_last_however_they_are_announced(
    proxy: RunningProxy, origin: Origin, item: TreeItem, coding: str
) -> None:
    origin.fault(item.path, Fault(chunked=True, headers={"Transfer-Encoding": coding}))

    assert is_right(await read(proxy.url(item.path)), item)
    assert len(origin.gets(item.path)) == 1


async def test_documents_that_come_compressed_are_served_as_signed(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    origin.fault("streams/*", Fault(gzip=True))

    reply = await read(proxy.url(INDEX))

    assert reply.body == (tree.root / INDEX).read_bytes()
    assert "Content-Encoding" not in reply.headers
    assert is_right(await read(proxy.url(item.path)), item)


async def test_documents_that_claim_to_be_compressed_are_not_guessed_at(
    proxy: RunningProxy, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    tree.publish()
    origin.fault("streams/*", Fault(content_encoding="gzip"))
    assert (await read(proxy.url(INDEX))).status == 503

    origin.heal()
    clock.advance(60)

    assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()


async def test_an_item_that_claims_to_be_compressed_is_taken_by_its_bytes(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """The digest says that they are right, whatever the header says; the claim is not passed on."""
    origin.fault(item.path, Fault(content_encoding="gzip"))

    reply = await read(proxy.url(item.path))

    assert is_right(reply, item)
    assert "Content-Encoding" not in reply.headers


async def test_an_item_that_comes_compressed_is_cut(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """Nobody asked for it: its length and bytes are not those of the list."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", data=b"zero" * 100_000)
    tree.publish()
    origin.fault(item.path, Fault(gzip=True))

    assert is_cut(await read(proxy.url(item.path)))
    assert not await kept(proxy, item)
    assert [request.headers["Accept-Encoding"] for request in origin.gets(item.path)] == ["identity"]

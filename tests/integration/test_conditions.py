"""What makes a request conditional: sent only when it is fit for it, and never insisted on."""

from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.stored import recorded
from support.tree import SignedTree

from proxy.mirror import Mirror

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


def is_conditional(origin: Origin, path: str) -> list[bool]:
    """Say of each GET of a path whether it asked only for what has changed."""
    conditions = {"If-None-Match", "If-Modified-Since"}
    return [not conditions.isdisjoint(request.headers) for request in origin.gets(path)]


@pytest.fixture
async def checked(proxy: RunningProxy, tree: SignedTree) -> RunningProxy:
    """Return a proxy that has a generation."""
    tree.add_item("product", "1", "kernel")
    tree.publish()
    assert (await read(proxy.url(INDEX))).status == 200
    return proxy


async def check_again(proxy: RunningProxy, origin: Origin) -> bool:
    """Let time pass and check; say whether that went well."""
    origin.clear()
    proxy.clock.advance(3600)
    await proxy.documents.checks.revalidate()
    return not (await proxy.cache.status())["test"]["failures"]


@pytest.mark.parametrize("status", [400, 401, 403, 405, 406, 412, 413, 416, 417, 421, 431, 494, 500, 501])
async def test_who_refuses_conditions_is_asked_plainly_at_once(
    checked: RunningProxy, origin: Origin, tree: SignedTree, status: int
) -> None:
    """And without any the next time; what is published meanwhile is found."""
    tree.add_item("product", "2", "kernel")
    tree.publish()
    origin.fault("*", Fault(condition_status=status))

    assert await check_again(checked, origin)

    assert is_conditional(origin, INDEX)[:2] == [True, False]
    assert (await read(checked.url(INDEX))).body == (tree.root / INDEX).read_bytes()
    assert await check_again(checked, origin)
    assert is_conditional(origin, INDEX)[0] is False


async def test_who_hangs_up_on_conditions_is_asked_plainly(
    checked: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    tree.add_item("product", "2", "kernel")
    tree.publish()
    origin.fault("*", Fault(condition_status=0))

    assert await check_again(checked, origin)

    assert (await read(checked.url(INDEX))).body == (tree.root / INDEX).read_bytes()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_what_has_nothing_to_do_with_conditions_is_not_asked_twice(
    checked: RunningProxy, origin: Origin, status: int
) -> None:
    origin.fault("*", Fault(status=status))

    assert not await check_again(checked, origin)

    assert is_conditional(origin, INDEX) == [True]


@pytest.mark.parametrize(
    "tag",
    ['"' + "e" * 8170 + '"', '"\N{SNOWMAN}"', '"a"\x01', "two words", '"a", "b"', "*" * 300, ""],
    ids=lambda tag: ascii(tag)[:12],
)
async def test_a_tag_that_is_none_is_neither_kept_nor_sent(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, tag: str
) -> None:
    tree.publish()
    origin.fault("*", Fault(head=_head(tree, f"ETag: {tag}")))
    assert (await read(proxy.url(INDEX))).status == 200
    recorded = await proxy.documents.recorded()
    assert recorded is not None
    assert recorded.documents[INDEX].etag is None
    origin.heal()

    assert await check_again(proxy, origin)

    assert "If-None-Match" not in origin.gets(INDEX)[0].headers


async def test_what_an_earlier_release_kept_is_not_sent(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """It kept whatever came, also what cannot be sent at all."""
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    async with run_proxy(config) as proxy:
        assert (await read(proxy.url(INDEX))).status == 200
        storage = proxy.cache.storage
        record = await storage.threads.ledger(recorded, storage.ledger, "generation/test")
        for document in record["documents"].values():
            document |= {"etag": '"\udcff"', "last_modified": "\udcfe" * 9000}
        await storage.threads.ledger(storage.ledger.write, "generation/test", record)
    async with run_proxy(config) as proxy:
        assert (await read(proxy.url(INDEX))).status == 200

        assert await check_again(proxy, origin)

    assert is_conditional(origin, INDEX)[0] is False


def _head(tree: SignedTree, field: str) -> bytes:
    size = (tree.root / INDEX).stat().st_size
    return f"HTTP/1.1 200 OK\r\n{field}\r\nContent-Length: {size}\r\n\r\n".encode()

"""Where upstream's answers and the configuration lead: redirects, and a proxy on the way."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.stored import removed
from support.tree import SignedTree, TreeItem
from support.upstream_faults import (
    IMPATIENT,
    INDEX,
    MIB,
    PERSISTENT,
    PRODUCT,
    impatient_proxy,
    is_cut,
    is_right,
    kept,
)

from proxy.digest import Digest
from proxy.mirror import Mirror


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item of three MiB."""
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=3 * MIB)
    tree.publish()
    return item


def assert_resumed(origin: Origin, item: TreeItem) -> None:
    """Check that an item was asked twice: whole, then from somewhere on."""
    first, second = origin.gets(item.path)
    assert "Range" not in first.headers
    assert re.fullmatch(r"bytes=[1-9]\d+-", second.headers["Range"])


# Redirects


async def test_a_redirect_to_a_named_host_is_followed_also_when_resuming(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, item: TreeItem
) -> None:
    named = replace(mirror, redirect_hosts=(f"127.0.0.1:{spare.port}",))
    async with impatient_proxy(tmp_path, named, PERSISTENT) as proxy:
        origin.fault(item.path, Fault(redirect_to=spare.url + item.path))
        spare.fault(item.path, Fault(stall_after=MIB), times=1)

        assert is_right(await read(proxy.url(item.path)), item)
        assert await kept(proxy, item)
    assert_resumed(spare, item)


async def test_a_redirect_within_an_origin_is_followed_relative_or_not(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    tree.write("moved/one", item.read())
    async with impatient_proxy(tmp_path, mirror) as proxy:
        for target in ("/moved/one", f"{origin.url}moved/one"):
            origin.fault(item.path, Fault(redirect_to=target))
            assert is_right(await read(proxy.url(item.path)), item)
            await proxy.fills_ended()
            await asyncio.to_thread(removed, proxy.store, Digest(item.digest))
    assert origin.count("moved/one") == 2


async def test_a_redirected_index_is_followed_as_well(
    tmp_path: Path, mirror: Mirror, origin: Origin, spare: Origin, tree: SignedTree, item: TreeItem
) -> None:
    named = replace(mirror, redirect_hosts=("127.0.0.1",))
    async with impatient_proxy(tmp_path, named) as proxy:
        for path in (INDEX, item.path):
            origin.fault(path, Fault(redirect_to=spare.url + path))

        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
        assert is_right(await read(proxy.url(item.path)), item)


async def test_a_redirect_to_what_is_no_public_web_address_is_not_followed(
    tmp_path: Path, mirror: Mirror, origin: Origin, tree: SignedTree
) -> None:
    """However it is written, for an origin must not reach what only the proxy can."""
    async with Origin(tmp_path / "upstream") as private:
        hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "0177.0.0.1", "0x7f000001", "0.0.0.0"]
        hosts += ["[::ffff:127.0.0.1]", "user@127.0.0.1"]
        targets = [f"http://{host}:{private.port}/{INDEX}" for host in hosts]
        targets += ["file:///etc/passwd", f"ftp://127.0.0.1:{private.port}/", "gopher://127.0.0.1:70/"]
        targets += ["http://169.254.169.254/latest/meta-data/", "http://", "http://[::1/", "javascript:x"]
        items = [tree.add_item(PRODUCT, "20250718", f"file-{n}") for n in range(len(targets))]
        tree.publish()
        for item, target in zip(items, targets, strict=True):
            origin.fault(item.path, Fault(redirect_to=target))
        async with impatient_proxy(tmp_path, mirror) as proxy:
            replies = await asyncio.gather(*(read(proxy.url(item.path)) for item in items))

            assert [target for target, reply in zip(targets, replies, strict=True) if not is_cut(reply)] == []
            assert [item.path for item in items if await kept(proxy, item)] == []
        assert private.connections == 0


async def test_redirects_in_a_circle_end(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    async with impatient_proxy(tmp_path, mirror) as proxy:
        origin.fault(item.path, Fault(redirect_to=f"/{item.path}"))

        assert is_cut(await read(proxy.url(item.path)))
    assert origin.count(item.path) <= 6 * 20


# A proxy on the way


async def test_all_requests_go_through_the_parent_proxy(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """It is asked by absolute URL, with its password, and resolves the names itself."""
    parent = f"http://us%65r:secret@127.0.0.1:{origin.port}"
    far = replace(mirror, origins=("http://images.example.test/",))
    async with impatient_proxy(tmp_path, far, replace(PERSISTENT, parent_proxy=parent)) as proxy:
        origin.fault(item.path, Fault(stall_after=MIB), times=1)

        assert is_right(await read(proxy.url(item.path)), item)
        assert is_right(await read(proxy.url(item.path)), item)
    assert {request.target.partition("/streams/")[0] for request in origin.gets("streams/*")} == {
        "http://images.example.test"
    }
    assert [request.target for request in origin.gets(item.path)] == [
        f"http://images.example.test/{item.path}"
    ] * 2
    assert_resumed(origin, item)
    assert {request.headers.get("Proxy-Authorization") for request in origin.requests} == {
        "Basic dXNlcjpzZWNyZXQ="
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "10.0.0.1", "[::1]"])
async def test_a_redirect_to_a_private_address_is_not_handed_to_the_parent_proxy(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, host: str
) -> None:
    far = replace(mirror, origins=("http://images.example.test/",))
    async with impatient_proxy(tmp_path, far, replace(IMPATIENT, parent_proxy=origin.url)) as proxy:
        origin.fault(item.path, Fault(redirect_to=f"http://{host}/elsewhere"))

        assert is_cut(await read(proxy.url(item.path)))
    assert not origin.gets("elsewhere")


async def test_https_origins_are_reached_through_a_tunnel_of_the_parent_proxy(
    tmp_path: Path, mirror: Mirror, origin: Origin
) -> None:
    far = replace(mirror, origins=("https://images.example.test/",))
    async with impatient_proxy(tmp_path, far, replace(IMPATIENT, parent_proxy=origin.url)) as proxy:
        assert (await read(proxy.url(INDEX))).status == 503
    assert {(request.method, request.target) for request in origin.requests} == {
        ("CONNECT", "images.example.test:443")
    }


async def test_a_parent_proxy_that_is_down_is_not_passed_by(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Who configures one wants nothing to go out beside it."""
    async with Origin(tmp_path / "upstream") as parent:
        await parent.stop()
        async with impatient_proxy(tmp_path, mirror, replace(IMPATIENT, parent_proxy=parent.url)) as proxy:
            assert (await read(proxy.url(INDEX))).status == 503
            assert is_cut(await read(proxy.url(item.path)))
    assert origin.connections == 0

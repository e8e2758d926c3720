"""What an origin sends without having been asked answers no later request on that connection."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

INDEX = "streams/v1/index.sjson"
OPTIONS = UpstreamOptions(connections=1, connect_timeout_s=5, stall_timeout_s=5, give_up_after_s=5)
TIRED = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
SIZES = (4_000, 300_000, 1_100_000, 3_000_000)
"""Around the sizes from which on bodies are read in other ways."""


@pytest.mark.parametrize("surplus", [TIRED, FORGED, GONE, b"\r\n", b"x"], ids=repr)
@pytest.mark.parametrize("chunked", [False, True])
async def test_the_next_request_gets_its_own_reply(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    origin: Origin,
    surplus: bytes,
    chunked: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    items = [tree.add_item("product", str(n), "kernel", size=size) for n, size in enumerate(SIZES * 3)]
    tree.publish()
    origin.fault("*", Fault(surplus=surplus, chunked=chunked))
    async with run_proxy(make_config(tmp_path / "data", mirror, upstream=OPTIONS)) as proxy:
        assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
        for item in items:
            assert (await read(proxy.url(item.path))).body == item.read()
        await proxy.documents.checks.revalidate()
        assert not (await proxy.cache.status())["test"]["failures"]
    assert "origin.failed" not in caplog.text
    assert "origin.wrong_bytes" not in caplog.text
    assert [origin.count(item.path) for item in items] == [1] * len(items)


async def test_who_is_told_that_it_took_too_long_asks_again_at_once(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    """The server wrote that before it saw the request, which came just then."""
    item = tree.add_item("product", "1", "kernel", size=100_000)
    tree.publish()
    await read(proxy.url(INDEX))
    origin.fault(item.path, Fault(status=408), times=1)

    assert (await read(proxy.url(item.path))).body == item.read()
    assert "origin.failed" not in caplog.text


async def test_who_always_says_so_has_failed(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item("product", "1", "kernel", size=100_000)
    tree.publish()
    async with Origin(tree.root) as spare:
        both = replace(mirror, origins=(origin.url, spare.url))
        async with run_proxy(make_config(tmp_path / "data", both, upstream=OPTIONS)) as proxy:
            origin.fault("*", Fault(status=408))
            assert (await read(proxy.url(INDEX))).body == (tree.root / INDEX).read_bytes()
            assert (await read(proxy.url(item.path))).body == item.read()
            assert spare.count(item.path) == 1

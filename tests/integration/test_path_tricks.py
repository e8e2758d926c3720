"""Targets that mean to leave their mirror: never a byte from outside, written to the socket as they stand."""

from pathlib import Path

import pytest
from support.origin import Origin
from support.running import MOUNT, RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request

SECRET = b"only the machine's owner may read this"
ITEM_PATH = "a/b.img"
OUT = [
    *("../" * depth + "secret" for depth in (1, 2, 5, 40)),
    "/secret",
    "//secret",
    "///etc/passwd",
    "./../secret",
    "a/../../secret",
    "a/b.img/../../secret",
    "a/b.img/..",
    "a/./../b.img",
    "a//../b.img",
    "a/.//../../secret",
    "a/b.img/",
    "a/b.img/.",
    "%2e%2e/secret",
    "%2E%2e/secret",
    ".%2e/secret",
    "%2e./secret",
    "..%2fsecret",
    "..%2Fsecret",
    "%2fsecret",
    "%2e%2e%2fsecret",
    "%252e%252e%252fsecret",
    "%25%32%65%25%32%65/secret",
    "..%5csecret",
    "..\\secret",
    "%5c%5csecret",
    "..%00/secret",
    "a/b.img%00",
    "a/b.img%00.txt",
    "%00",
    "a/b.img%0a",
    "a/b.img%0d%0aX-Injected:%20yes",
    "a/b.img%09",
    "a/b.img%7f",
    "a/b.img%20",
    "a/b.img.",
    "A/B.IMG",
    "%c0%ae%c0%ae/secret",
    "%c0%ae%c0%ae%c0%afsecret",
    "%e0%80%ae%e0%80%ae/secret",
    "%f0%80%80%ae/secret",
    "%c0%2e%c0%2e/secret",
    "%uff0e%uff0e/secret",
    "%ef%bc%8e%ef%bc%8e/secret",
    "%e2%80%a4%e2%80%a4/secret",
    "%ed%a0%80",
    "%ff%fe",
    "%",
    "%2",
    "%zz",
    "a/b%2",
    "..;/secret",
    "a/b.img;../secret",
    "a/b.img:../secret",
    "file:///etc/passwd",
    "~/secret",
    "$HOME/secret",
    "blobs/sha256/",
    "<script>alert(1)</script>",
    "a" * 2049,
    "../" * 2700 + "secret",
    "%2e%2e/" * 1100 + "secret",
]
FOREIGN = [
    "http://evil.test/secret",
    "http://169.254.169.254/latest/meta-data/",
    "http://127.0.0.1:1/secret",
    "http://[::1]:1/secret",
    "http://localhost:22/",
    "https://evil.test:443/secret",
    "ftp://evil.test/secret",
    "file:///etc/passwd",
    "file://localhost/etc/passwd",
    "gopher://evil.test/secret",
    "http://evil.test@127.0.0.1:1/secret",
    "http://evil.test:99999/",
    "http://[::1/secret",
    "http:///secret",
    "http:secret",
    "unix:/run/docker.sock",
    "*",
]


@pytest.fixture
async def item(proxy: RunningProxy, origin: Origin, tree: SignedTree, tmp_path: Path) -> TreeItem:
    """Publish an image, with secrets beside the tree, in the data folder, and in the tree but on no list."""
    item = tree.add_item("product", "20250718", "b.img", path=ITEM_PATH)
    tree.publish()
    for folder in (tmp_path, tmp_path / "data", tree.root, tree.root / "streams"):
        (folder / "secret").write_bytes(SECRET)
    assert (await proxy.read(item.path)).status == 200
    await origin.idle()
    origin.clear()
    return item


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_no_trick_leaves_a_mirror(
    proxy: RunningProxy, origin: Origin, item: TreeItem, method: str
) -> None:
    """In the usual form and as an absolute target; the origin is asked nothing, no header is injected."""
    targets = [MOUNT + path for path in OUT]
    targets += [proxy.base + MOUNT + path for path in OUT]
    targets += [origin.url + path for path in OUT if len(path) < 2049]
    for target in targets:
        async with Wire.to(proxy.base) as wire:
            await wire.send(request(target, method))
            reply = await wire.reply(method)
            assert reply.status in {400, 403, 404, 431}, target[:100]
            assert SECRET not in reply.body, target[:100]
            assert b"root:" not in reply.body, target[:100]
            assert "X-Injected" not in reply.headers
            if reply.status in {403, 404}:  # Which may repeat the target.
                assert reply.headers["X-Content-Type-Options"] == "nosniff", target[:100]
    assert origin.requests == []
    assert (await proxy.read(ITEM_PATH)).body == item.read()


@pytest.mark.usefixtures("item")
async def test_no_other_server_is_asked(proxy: RunningProxy, origin: Origin) -> None:
    """403 for what no mirror covers; whatever Host says."""
    for target in FOREIGN:
        for host in ("evil.test", "169.254.169.254", "127.0.0.1:1"):
            async with Wire.to(proxy.base) as wire:
                await wire.send(request(target, Host=host))
                reply = await wire.reply()
                assert reply.status in {400, 403, 404}, (target, host)
                assert SECRET not in reply.body
    statuses = {"evil.test": 404, "169.254.169.254:80": 404, "a b": 400, "\xff": 400, "": 404}
    for host, status in statuses.items():
        async with Wire.to(proxy.base) as wire:
            assert (await wire.ask(f"{MOUNT}secret", Host=host)).status == status, host
    assert origin.requests == []


async def test_other_spellings_of_a_listed_path_mean_the_same_file(
    proxy: RunningProxy, item: TreeItem
) -> None:
    """Escapes, doubled slashes, a query, the proxy's own URL: all are the path that the list names."""
    for path in ("a/b.img", "%61/b%2Eimg", "a%2fb.img", "a%2Fb%2eimg", "a//b.img", "./a/./b.img", "a/b.img?"):
        for prefix in (MOUNT, proxy.base + MOUNT):
            async with Wire.to(proxy.base) as wire:
                reply = await wire.ask(prefix + path)
                assert (reply.status, reply.body) == (200, item.read()), path

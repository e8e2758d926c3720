"""However a list, a client or a store writes a path: it names its file."""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from aiohttp import web
from support.exchange import read
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror


@pytest.mark.parametrize(
    ("listed", "stored", "asked"),
    [
        ("./a/kernel", "a/kernel", ["a/kernel", "./a/kernel"]),
        ("a//kernel", "a/kernel", ["a/kernel", "a//kernel"]),
        ("/a/kernel", "a/kernel", ["a/kernel", "/a/kernel"]),
        ("a/./kernel", "a/kernel", ["a/kernel", "a/./kernel"]),
        ("a%20b/kernel", "a b/kernel", ["a%20b/kernel", "a%2520b/kernel"]),
        ("a%20b/kernel", "a%20b/kernel", ["a%20b/kernel", "a%2520b/kernel"]),
        ("a b/kernel", "a b/kernel", ["a%20b/kernel"]),
        ("a%3Ab/kernel", "a:b/kernel", ["a:b/kernel", "a%3Ab/kernel", "a%253Ab/kernel"]),
        ("a%2520b/kernel", "a%20b/kernel", ["a%2520b/kernel"]),
        ("a+b/kernel", "a+b/kernel", ["a+b/kernel", "a%2Bb/kernel"]),
        ("a%2Bb/kernel", "a+b/kernel", ["a+b/kernel", "a%2Bb/kernel"]),
        ("h\u00fclle/kernel", "h\u00fclle/kernel", ["h%C3%BClle/kernel"]),
    ],
)
async def test_a_path_is_found_as_lists_and_clients_write_it(
    proxy: RunningProxy, tree: SignedTree, listed: str, stored: str, asked: list[str]
) -> None:
    item = tree.add_item("product", "1", "kernel", path=stored)
    tree.version("product", "1")["items"]["kernel"]["path"] = listed
    tree.publish()

    for path in asked:
        # As a client does that puts the list's path behind the mirror's URL.
        reply = await read(proxy.url(proxy.config.mirrors[0].mount + path))
        assert (reply.status, reply.body) == (200, item.read()), path


class Bucket:
    """What S3 does with a path: `+` is a space, and there are no folders."""

    def __init__(self, root: Path, absent: int) -> None:
        self._root = root
        self._absent = absent
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve a key, or say that there is none."""
        self.asked.append(request.raw_path)
        file = self._root / unquote(request.raw_path[1:].replace("+", "%20"))
        return web.Response(body=file.read_bytes()) if file.is_file() else web.Response(status=self._absent)


@pytest.fixture(params=[403, 404])
async def bucket(tree: SignedTree, request: pytest.FixtureRequest) -> AsyncIterator[tuple[Bucket, str]]:
    """Return a bucket with the tree, which says 403 or 404 of what it lacks, and its URL."""
    bucket = Bucket(tree.root, request.param)
    server = web.AppRunner(web.Application())
    server.app.router.add_get("/{path:.*}", bucket.answer)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    yield bucket, f"http://127.0.0.1:{server.addresses[0][1]}/"
    await server.cleanup()


@pytest.mark.parametrize("name", ["5.0.0+dfsg", "a+b:c", "a b+c"])
async def test_a_plus_reaches_a_bucket(
    tmp_path: Path, tree: SignedTree, keyring: Path, bucket: tuple[Bucket, str], name: str
) -> None:
    item = tree.add_item("product", "1", "kernel", path=f"{name}/kernel")
    tree.publish()
    store, url = bucket
    mirror = Mirror(name="test", mount="/images/test/", origins=(url,), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        reply = await read(proxy.url(quote(item.path, safe="/+:")))

    assert (reply.status, reply.body) == (200, item.read())
    assert [path for path in store.asked if "kernel" in path] == [f"/{quote(item.path, safe='/:')}"]

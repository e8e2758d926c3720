"""The proxy named as `http_proxy`: absolute-form targets of the mirrors it has, and nothing else."""

from pathlib import Path

import pytest
import trustme
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply, request

from proxy.cache.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
PRODUCTS = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one image."""
    item = tree.add_item(PRODUCT, "20250718", "boot-initrd", size=100_000)
    tree.publish()
    return item


async def ask(proxy: RunningProxy, target: str, method: str = "GET") -> WireReply:
    """Send one request with that target on a connection of its own."""
    async with Wire.to(proxy.base) as wire:
        return await wire.ask(target, method)


async def test_a_configured_mirror_is_served_under_its_origins_own_urls(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, item: TreeItem
) -> None:
    """One client asks for the origin's URL, another below the mount: both share one download."""
    absolute = [await ask(proxy, origin.url + path) for path in (INDEX, PRODUCTS, item.path)]
    mounted = await proxy.read(item.path)

    assert [reply.status for reply in absolute] == [200] * 3
    assert absolute[0].body == (tree.root / INDEX).read_bytes()
    assert absolute[1].body == (tree.root / PRODUCTS).read_bytes()
    assert absolute[2].body == mounted.body == item.read()
    assert mounted.cache_status == "hit"
    assert origin.count(item.path) == 1
    assert all(seen.target.startswith("/") for seen in origin.requests)


async def test_a_client_with_an_http_proxy_setting_reads_the_mirror(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """MAAS with `http_proxy` set does this (aiohttp), colons escaped or not."""
    escaped = PRODUCTS.replace(":", "%3A")
    for path in (INDEX, PRODUCTS, escaped, item.path):
        async with proxy.session.get(origin.url + path, proxy=proxy.base) as response:
            assert response.status == 200
            body = await response.read()

    assert body == item.read()
    assert origin.count(item.path) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_what_the_mirror_does_not_list_is_absent_under_the_origins_urls_too(
    proxy: RunningProxy, origin: Origin, item: TreeItem, method: str
) -> None:
    await proxy.read(INDEX)
    origin.clear()

    replies = [await ask(proxy, origin.url + path, method) for path in ("no/such", "streams/v1/x.json", "..")]

    assert [reply.status for reply in replies] == [404] * 3
    assert origin.requests == []


async def test_credentials_and_query_of_a_target_do_not_matter(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    with_credentials = origin.url.replace("http://", "http://user:secret@") + item.path

    assert (await ask(proxy, with_credentials)).body == item.read()
    assert (await ask(proxy, f"{origin.url}{item.path}?token=secret")).body == item.read()
    assert not any("secret" in seen.target for seen in origin.requests)
    assert not any("Authorization" in seen.headers for seen in origin.requests)


@pytest.mark.parametrize("base", ["http://images.example.test/tree/", "https://images.example.test/tree/"])
@pytest.mark.parametrize(
    "target",
    [
        "http://images.example.test/tree/",
        "http://images.example.test:80/tree/",
        "https://images.example.test/tree/",
        "https://images.example.test:443/tree/",
        "HTTP://Images.Example.TEST/tree/",
    ],
)
async def test_http_and_https_of_an_origin_count_as_one(
    tmp_path: Path, origin: Origin, keyring: Path, item: TreeItem, base: str, target: str
) -> None:
    """A client of a proxy asks by http; whether upstream is https is the mirror's configuration."""
    # Only the origin on loopback can be reached; the one in front names the tree for clients.
    mirror = Mirror(name="tree", mount="/tree/", origins=(origin.url, base), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        assert (await ask(proxy, target + item.path)).body == item.read()


async def test_a_mirror_of_an_https_origin_is_served_to_clients_that_ask_by_http(
    tmp_path: Path, tree: SignedTree, keyring: Path, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With an https origin on its own port, which the client names in an http URL."""
    context, ca = tls_of("127.0.0.1")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    async with Origin(tree.root, tls=context) as origin:
        mirror = Mirror(name="tls", mount="/tls/", origins=(origin.url,), keyring=str(keyring))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            by_http = await ask(proxy, origin.url.replace("https", "http") + item.path)
            by_https = await ask(proxy, origin.url + item.path)

    assert by_http.body == by_https.body == item.read()


def tls_of(name: str) -> "tuple[object, trustme.CA]":
    """Return a server's context for `name`, and the authority behind it."""
    raise NotImplementedError


async def test_of_two_trees_on_one_server_each_target_reaches_its_own(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path, key: object
) -> None:
    raise NotImplementedError


@pytest.mark.parametrize(
    "target",
    [
        "http://elsewhere.test/",
        "http://elsewhere.test",
        "http://elsewhere.test/streams/v1/index.sjson",
        "https://elsewhere.test/streams/v1/index.sjson",
        "http://elsewhere.test/images/test/streams/v1/index.sjson",
        "http://elsewhere.test/-/health",
        "http://elsewhere.test/-/stats",
        "http://127.0.0.1:1/streams/v1/index.sjson",
        "http://127.0.0.1/streams/v1/index.sjson",
        "http://127.0.0.1:{origin.port}@elsewhere.test/streams/v1/index.sjson",
        "http://127.0.0.1:{origin.port}.elsewhere.test/streams/v1/index.sjson",
        "http://[::1]:{origin.port}/streams/v1/index.sjson",
        "ftp://elsewhere.test/streams/v1/index.sjson",
        "http://169.254.169.254/latest/meta-data/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_targets_of_other_servers_are_refused(
    proxy: RunningProxy, origin: Origin, item: TreeItem, target: str, method: str
) -> None:
    """403, and nobody is contacted: this is no open proxy, and no page of ours passes for another's."""
    reply = await ask(proxy, target.format(origin=origin), method)

    assert reply.status in {400, 403} if "elsewhere.test/" in target and "{" in target else reply.status == 403
    assert origin.requests == []

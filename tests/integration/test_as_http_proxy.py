"""The proxy named as `http_proxy`: absolute-form targets of the mirrors it has, and nothing else."""

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from support.certificates import make_certificate
from support.keys import SigningKey
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply, request

from proxy.mirror import Mirror

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
@pytest.mark.usefixtures("item")
async def test_what_the_mirror_does_not_list_is_absent_under_the_origins_urls_too(
    proxy: RunningProxy, origin: Origin, method: str
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
async def test_http_and_https_of_an_origin_count_as_one(
    tmp_path: Path, origin: Origin, keyring: Path, item: TreeItem, base: str
) -> None:
    """A client of a proxy asks by http; whether upstream is https is the mirror's configuration."""
    targets = [
        "http://images.example.test/tree/",
        "http://images.example.test:80/tree/",
        "https://images.example.test/tree/",
        "https://images.example.test:443/tree/",
        "HTTP://Images.Example.TEST/tree/",
    ]
    # Only the origin on loopback can be reached; the second one names the tree for clients.
    mirror = Mirror(name="tree", mount="/tree/", origins=(origin.url, base), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        bodies = [(await ask(proxy, target + item.path)).body for target in targets]

    assert bodies == [item.read()] * len(targets)


async def test_a_mirror_of_an_https_origin_is_served_to_clients_that_ask_by_http(
    tmp_path: Path, tree: SignedTree, keyring: Path, item: TreeItem
) -> None:
    """The client's URL names the https origin's own port, by http or by https."""
    certificate = make_certificate(tmp_path)
    async with Origin(tree.root, tls=certificate.server) as origin:
        mirror = Mirror(name="tls", mount="/tls/", origins=(origin.url,), keyring=str(keyring))
        trusting = {"SSL_CERT_FILE": str(certificate.authority)}
        async with run_service(write_config(tmp_path, mirror), trusting) as service:
            for url in (origin.url.replace("https", "http"), origin.url):
                async with Wire.to(service.base) as wire:
                    assert (await wire.ask(url + item.path)).body == item.read()

        assert origin.count(item.path) == 1


async def test_of_two_trees_on_one_server_each_target_reaches_its_own(
    tmp_path: Path, key: SigningKey, keyring: Path
) -> None:
    """The longest base URL wins, as among mounts."""
    trees = {where: SignedTree(tmp_path / "server" / where, key) for where in ("", "a/", "a/b/")}
    for where, tree in trees.items():
        tree.add_item(PRODUCT, "20250718", "manifest", path="manifest", data=f"in {where}".encode())
        tree.publish()
    async with Origin(tmp_path / "server") as origin:
        mirrors = [
            Mirror(name=f"m{n}", mount=f"/m{n}/", origins=(origin.url + where,), keyring=str(keyring))
            for n, where in enumerate(trees)
        ]
        async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy:
            bodies = [(await ask(proxy, f"{origin.url}{where}manifest")).body for where in trees]

    assert bodies == [b"in ", b"in a/", b"in a/b/"]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.usefixtures("item")
async def test_targets_of_other_servers_are_refused(proxy: RunningProxy, origin: Origin, method: str) -> None:
    """403, and nobody is contacted: this is no open proxy, and no page of ours passes for another's."""
    targets = [
        "http://elsewhere.test/",
        "http://elsewhere.test",
        "http://elsewhere.test/streams/v1/index.sjson",
        "https://elsewhere.test/streams/v1/index.sjson",
        "http://elsewhere.test/images/test",
        "http://elsewhere.test/images/streams/v1/index.sjson",
        "http://elsewhere.test//-/health",
        "http://elsewhere.test/-/health",
        "http://elsewhere.test/-/stats",
        "http://127.0.0.1:1/streams/v1/index.sjson",
        "http://127.0.0.1/streams/v1/index.sjson",
        f"http://127.0.0.1:{origin.port}@elsewhere.test/streams/v1/index.sjson",
        f"http://[::1]:{origin.port}/streams/v1/index.sjson",
        "ftp://elsewhere.test/streams/v1/index.sjson",
        "http://169.254.169.254/latest/meta-data/",
    ]
    statuses = {target: (await ask(proxy, target, method)).status for target in targets}

    assert statuses == dict.fromkeys(targets, 403)
    assert origin.requests == []


async def test_a_path_glued_to_the_origins_url_is_absent(
    tmp_path: Path, tree: SignedTree, keyring: Path, item: TreeItem
) -> None:
    """The first request of an old MAAS, and of sstream-mirror, whose URL lacks the last slash."""
    async with Origin(tree.root.parent) as origin:
        base = f"{origin.url}{tree.root.name}"
        mirror = Mirror(name="tree", mount="/tree/", origins=(f"{base}/",), keyring=str(keyring))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            glued = await ask(proxy, f"{base}{INDEX}")
            asked = len(origin.requests)
            whole = await ask(proxy, f"{base}/{item.path}")

    assert (glued.status, asked) == (404, 0)
    assert whole.body == item.read()


@pytest.mark.usefixtures("item")
async def test_a_refused_target_is_told_in_few_words(proxy: RunningProxy) -> None:
    reply = await ask(proxy, "http://elsewhere.test/" + "a" * 5000)
    assert reply.status == 403
    assert b"serves only its configured mirrors, not 'http://elsewhere.test/aaa" in reply.body
    assert len(reply.body) < 300


@pytest.mark.usefixtures("item")
async def test_an_origin_has_none_of_our_own_pages(proxy: RunningProxy, origin: Origin) -> None:
    """What the origin's URL names is the mirror's, also where we have a page under the same path."""
    for path in ("", "/", "/-/stats", "/-/health", "/images/test/streams/v1/index.sjson"):
        reply = await ask(proxy, origin.url.removesuffix("/") + path)
        assert reply.status in {403, 404}
        assert b"sstream-proxy 0" not in reply.body


async def test_a_target_that_is_no_url_is_a_bad_request(proxy: RunningProxy, origin: Origin) -> None:
    for target in (
        "http://elsewhere.test:99999/x",
        "http://[::1/x",
        "http:///x",
        "http:x",
        "http://",
        "://x",
    ):
        assert (await ask(proxy, target)).status in {400, 403}, target

    assert origin.requests == []


@pytest.mark.parametrize("host", ["127.0.0.1", "LocalHost"])
async def test_a_url_of_the_proxy_itself_means_its_path(
    proxy: RunningProxy, item: TreeItem, host: str
) -> None:
    """Clients whose proxy setting covers the cache itself send such targets."""
    base = proxy.base.replace("127.0.0.1", host)

    image = await ask(proxy, f"{base}{proxy.config.mirrors[0].mount}{item.path}")
    welcome, health, absent = [await ask(proxy, base + path) for path in ("/", "/-/health", "/nowhere")]

    assert image.body == item.read()
    assert welcome.status == 200
    assert b"/images/test/" in welcome.body
    assert (health.status, health.body) == (200, b"ok\n")
    assert absent.status == 404


async def test_what_lies_below_a_mount_is_ours_by_any_name(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """A load balancer's, say, or a port map's: the proxy cannot know them. Nobody else is asked."""
    mount = proxy.config.mirrors[0].mount
    await proxy.read(item.path)
    origin.clear()
    for host in ("cache.example.test", "CACHE.example.test.:8080", "192.0.2.80", "[::1]:80", "localhost:1"):
        for url in (f"http://{host}{mount}", f"https://{host}{mount}", f"http://{host}/{mount}/"):
            assert (await ask(proxy, url + item.path)).body == item.read(), url
            assert (await ask(proxy, url + INDEX, "HEAD")).status == 200, url
        absent = [await ask(proxy, f"http://{host}{mount}{path}") for path in ("no/such", "../secret", "")]
        assert [reply.status for reply in absent] == [404] * 3
    assert origin.requests == []


async def test_another_name_is_no_way_around_the_access_rules(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    closed = replace(mirror, allow=("192.0.2.0/24",))
    async with run_proxy(make_config(tmp_path / "data", closed)) as proxy:
        for host in ("cache.example.test", "localhost:1"):
            reply = await ask(proxy, f"http://{host}{mirror.mount}{item.path}")
            assert (reply.status, b"may not read" in reply.body) == (403, True)


@pytest.mark.parametrize("is_an_origin", [True, False])
@pytest.mark.usefixtures("item")
async def test_connect_is_refused_plainly(proxy: RunningProxy, origin: Origin, is_an_origin: bool) -> None:
    """No tunnels: 405 at once, with a reason in words, and nothing that follows is passed on."""
    target = f"127.0.0.1:{origin.port}" if is_an_origin else "elsewhere.test:443"

    async with Wire.to(proxy.base) as wire:
        await wire.send(request(target, "CONNECT") + b"\x16\x03\x01\x02\x00")
        reply = await wire.reply()

    assert reply.status == 405
    assert reply.headers["Allow"] == "GET, HEAD"
    assert reply.body.decode() == (
        "only GET and HEAD work here: what is https cannot be cached on its way, so take this proxy out of "
        "https_proxy, and give clients its own URLs; / lists them\n"
    )
    assert origin.connections == 0


@pytest.mark.usefixtures("item")
async def test_a_client_that_wants_a_tunnel_learns_that_there_is_none(proxy: RunningProxy) -> None:
    with pytest.raises(aiohttp.ClientHttpProxyError) as refusal:
        await proxy.session.get("https://images.example.test/streams/v1/index.sjson", proxy=proxy.base)

    assert refusal.value.status == 405

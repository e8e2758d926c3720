"""A name server that gives the proxy's address for an origin's name, and nothing else configured anywhere."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from support.certificates import make_certificate
from support.credentials import basic, user
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree
from support.wire import Wire, WireReply
from yarl import URL

from proxy.mirror import Mirror
from proxy.web.access.gate import AccessOptions

NAME = "images.maas.io"
PREFIX = "/ephemeral-v3/stable"
INDEX = "streams/v1/index.sjson"
PRODUCTS = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Publish what images.maas.io has, small."""
    return maas_tree(tmp_path / "upstream", key, versions=1)


@pytest.fixture
def mirror(origin: Origin, keyring: Path) -> Mirror:
    """Return a mirror of that. Only loopback can be reached: the second origin gives its name."""
    origins = (origin.url, f"https://{NAME}{PREFIX}/")
    return Mirror(name="maas-stable", mount="/images/stable/", origins=origins, keyring=str(keyring))


class Override(AbstractResolver):
    """A site's name server: every name leads to the proxy, whatever port is asked for."""

    def __init__(self, base: str) -> None:
        self._url = URL(base)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the proxy's address; a port of its own stands for port 80."""
        del port, family
        assert self._url.host is not None
        assert self._url.port is not None
        return [
            ResolveResult(
                hostname=host,
                host=self._url.host,
                port=self._url.port,
                family=socket.AF_INET,
                proto=0,
                flags=0,
            )
        ]

    async def close(self) -> None:
        """Hold nothing."""


@contextlib.asynccontextmanager
async def site(proxy: RunningProxy, **options: Any) -> AsyncIterator[aiohttp.ClientSession]:
    """Run a client that knows of no proxy."""
    connector = aiohttp.TCPConnector(resolver=Override(proxy.base))
    async with aiohttp.ClientSession(connector=connector, **options) as session:
        yield session


def paths_in(document: bytes) -> list[str]:
    """Return all paths that an index or list names."""
    text = document.partition(b"\n\n")[2].partition(b"-----BEGIN PGP SIGNATURE")[0]
    found: list[str] = []

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.extend(text for key, text in value.items() if key == "path")
            for one in value.values():
                look(one)

    look(json.loads(text))
    return found


async def test_maas_3_8_imports_by_the_name_alone(
    proxy: RunningProxy, origin: Origin, tree: SignedTree
) -> None:
    """aiohttp; the index, all lists, then all items at once, with colons as they are."""
    source = f"http://{NAME}{PREFIX}/"
    async with site(proxy) as session:

        async def get(path: str) -> bytes:
            async with session.get(URL(source + path, encoded=True)) as response:
                assert (response.status, response.headers.get("Location")) == (200, None)
                return await response.read()

        lists = [await get(path) for path in paths_in(await get(INDEX))]
        paths = sorted({path for one in lists for path in paths_in(one)})
        bodies = await asyncio.gather(*map(get, paths))

    assert len(lists) == 3
    assert {path: sha256(body).hexdigest() for path, body in zip(paths, bodies, strict=True)} == {
        item.path: item.digest for item in tree.items
    }
    assert [origin.count(path) for path in paths] == [1] * len(paths)


@pytest.mark.parametrize("source", [PREFIX, f"{PREFIX}/"])
async def test_maas_3_4_imports_by_the_name_alone(proxy: RunningProxy, tree: SignedTree, source: str) -> None:
    """python-simplestreams: without a slash it asks beside the tree first; only a 404 makes it add one."""
    agent = {"User-Agent": "maas/3.4.5/16320/1f0a", "Accept-Encoding": "gzip, deflate"}
    async with site(proxy, headers=agent, auto_decompress=True) as session:

        async def get(path: str) -> tuple[int, bytes]:
            async with session.get(URL(f"http://{NAME}{path}", encoded=True)) as response:
                return response.status, await response.read()

        if not source.endswith("/"):
            began = asyncio.get_running_loop().time()
            assert (await get(source + INDEX))[0] == 404
            assert asyncio.get_running_loop().time() - began < 5
            source += "/"
        status, index = await get(source + INDEX)
        assert status == 200
        for path in paths_in(index):
            for _ in range(3):  # It reads each list three times.
                status, products = await get(source + path)
                assert (status, products) == (200, (tree.root / path).read_bytes())
            for item in paths_in(products):
                assert await get(source + item) == (200, tree.item(item).read())


async def ask(proxy: RunningProxy, target: str, host: str, **headers: str) -> WireReply:
    """Send one request with that target and Host, on a connection of its own."""
    async with Wire.to(proxy.base) as wire:
        return await wire.ask(target, Host=host, **headers)


async def test_beside_the_tree_there_is_nothing_and_no_origin_is_asked(
    proxy: RunningProxy, origin: Origin
) -> None:
    """404 at once, also before anything is known, also for what is ours under other names."""
    await origin.stop()
    targets = ("/", f"{PREFIX}streams/v1/index.sjson", f"/{INDEX}", "/-/", "/-/health", "/-/stats",
               "/-/metrics", "/%2D/stats", "//-/stats", f"/images/stable/{INDEX}", "/x.ico")  # fmt: skip
    for host in (NAME, "IMAGES.maas.io.:80"):
        replies = [await ask(proxy, target, host) for target in targets]
        assert [reply.status for reply in replies] == [404] * len(targets)
        assert not any(b"sstream-proxy 0" in reply.body for reply in replies)
    assert (await ask(proxy, "/-/stats", f"{NAME}:8080")).status == 404
    post = await ask(proxy, "/-/api/v1/scrub", NAME, X_Sstream_Proxy="1")
    assert post.status == 404


async def test_doubled_slashes_of_old_clients_are_passed_over(proxy: RunningProxy, tree: SignedTree) -> None:
    """Old LXD writes //streams/v1/index.json behind a URL that ends with a slash."""
    index = (tree.root / "streams/v1/index.json").read_bytes()
    for target in (f"{PREFIX}//streams/v1/index.json", f"/{PREFIX}/./streams//v1/index.json"):
        assert (await ask(proxy, target, NAME)).body == index
    assert (await ask(proxy, "/images/stable//streams/v1/index.json", "cache.test")).body == index


async def test_figures_are_not_shown_to_a_page_whose_name_leads_here(proxy: RunningProxy) -> None:
    """DNS rebinding: the browser takes them for that site's own."""
    for path in ("/-/stats", "/-/metrics", "/-/live", "/-/api/v1/openapi.json", "/%2D/stats"):
        reply = await ask(proxy, path, "evil.example:8080")
        assert (reply.status, b"[admin] names" in reply.body) == (403, True), path
        assert (await ask(proxy, path, "192.0.2.7:8080")).status == 200
    page = await ask(proxy, "/-/", "evil.example:8080")
    ready = await ask(proxy, "/-/ready", "evil.example:8080")
    assert b"maas-stable" not in page.body + ready.body
    assert b"[admin] names" in page.body
    assert (await ask(proxy, "/-/health", "evil.example:8080")).body == b"ok\n"


@pytest.mark.parametrize(
    "host",
    ["", "images.maas.io:99999", "." * 300, "images.maas.io,evil.test", "images.maas.io%2e", ":80"],
)
async def test_odd_hosts_are_nobodys_name(proxy: RunningProxy, host: str) -> None:
    """They get a plain answer, and what lies below a mount is found as under any name."""
    assert (await ask(proxy, f"{PREFIX}/{INDEX}", host)).status == 404
    assert (await ask(proxy, f"/images/stable/{INDEX}", host)).status == 200


async def test_two_hosts_are_a_bad_request(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        await wire.send(f"GET {PREFIX}/{INDEX} HTTP/1.1\r\nHost: {NAME}\r\nHost: evil.test\r\n\r\n".encode())
        assert (await wire.reply()).status == 400


async def test_ready_replies_are_told_apart_by_name(tmp_path: Path, key: SigningKey, keyring: Path) -> None:
    """One path of two servers, asked again and again on one connection: to each its own."""
    trees = [SignedTree(tmp_path / name, key) for name in ("one", "two")]
    for tree in trees:
        tree.add_item("p", "1", "manifest", path="manifest", data=tree.root.name.encode())
        tree.publish()
    async with Origin(trees[0].root) as first, Origin(trees[1].root) as second:
        mirrors = [
            Mirror(
                name=name,
                mount=f"/{name}/",
                origins=(origin.url, f"https://{name}.example/t/"),
                keyring=str(keyring),
            )
            for name, origin in (("one", first), ("two", second))
        ]
        async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy, Wire.to(proxy.base) as wire:
            for _ in range(20):
                for name in ("one", "two"):
                    assert (await wire.ask("/t/manifest", Host=f"{name}.example")).body == name.encode()
                assert (await wire.ask("/t/manifest", Host="three.example")).status == 404


async def test_a_name_is_no_way_around_the_access_rules(
    tmp_path: Path, mirror: Mirror, tree: SignedTree
) -> None:
    assert tree.items
    closed = replace(mirror, allow=("192.0.2.0/24",))
    async with run_proxy(make_config(tmp_path / "data", closed)) as proxy:
        for target in (f"{PREFIX}/{INDEX}", f"http://{NAME}{PREFIX}/{INDEX}"):
            reply = await ask(proxy, target, NAME)
            assert (reply.status, b"may not read" in reply.body) == (403, True)
    users = (user("maas", "secret"),)
    guarded = make_config(tmp_path / "data", mirror, access=AccessOptions(users=("maas",)), users=users)
    async with run_proxy(guarded) as proxy:
        stranger = await ask(proxy, f"{PREFIX}/{INDEX}", NAME)
        assert stranger.status == 401
        assert "WWW-Authenticate" in stranger.headers
        async with site(proxy, headers={"Authorization": basic("maas", "secret")}) as session:
            assert (await session.get(f"http://{NAME}{PREFIX}/{INDEX}")).status == 200


async def test_it_can_be_turned_off(tmp_path: Path, mirror: Mirror) -> None:
    async with run_proxy(make_config(tmp_path / "data", replace(mirror, answer_to=()))) as proxy:
        assert (await ask(proxy, f"{PREFIX}/{INDEX}", NAME)).status == 404
        assert (await ask(proxy, f"/images/stable/{INDEX}", NAME)).status == 200
        assert (await ask(proxy, "/-/stats", NAME)).status == 404


# LXD, by a name and a certificate for it

_IN_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def _can_override_names() -> bool:
    """Whether a process can be given a file of host names of its own here."""
    if shutil.which("unshare") is None or shutil.which("lxc") is None:
        return False
    trial = subprocess.run(
        [*_IN_OWN_MOUNTS, "mount --bind /etc/hostname /etc/hosts"], capture_output=True, check=False
    )
    return trial.returncode == 0


@pytest.mark.skipif(not _can_override_names(), reason="needs lxc (lxd-client), and unshare --mount")
async def test_lxd_reads_by_the_name_with_a_certificate_for_it(
    tmp_path: Path, key: SigningKey, keyring: Path
) -> None:
    """Unchanged, with the address of a public server: its list, and an image that it checks itself."""
    name = "images.linuxcontainers.example"
    tree = SignedTree(tmp_path / "lxc", key)
    data = {"lxd.tar.xz": b"metadata" * 100, "squashfs": b"root file system" * 10_000}
    fingerprint = sha256(data["lxd.tar.xz"] + data["squashfs"]).hexdigest()
    product = "testos:r1:amd64:default"
    tree.document("images")["datatype"] = "image-downloads"
    tree.product(
        product,
        "images",
        aliases="testos/r1",
        arch="amd64",
        os="Testos",
        release="r1",
        release_title="r1",
        variant="d",
    )
    for ftype, content in data.items():
        fields: dict[str, Any] = {"combined_squashfs_sha256": fingerprint} if ftype == "lxd.tar.xz" else {}
        tree.add_item(product, "20250718_07:42", ftype, data=content, path=f"images/{ftype}",
                      content_id="images", **fields)  # fmt: skip
    tree.publish()
    certificate = make_certificate(tmp_path, name)
    hosts = tmp_path / "hosts"
    hosts.write_text(f"127.0.0.1 localhost {name}\n")
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    url = f"https://{name}:{listener.getsockname()[1]}/"

    async def lxc(*arguments: str) -> str:
        kept = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        process = await asyncio.create_subprocess_exec(
            *_IN_OWN_MOUNTS,
            'mount --bind "$HOSTS" /etc/hosts && exec lxc "$@"',
            "lxc",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **kept,
                "HOME": str(tmp_path),
                "HOSTS": str(hosts),
                "LXD_CONF": str(tmp_path / "lxd"),
                "SSL_CERT_FILE": str(certificate.authority),
            },
        )
        out, problem = await process.communicate()
        assert process.returncode == 0, problem.decode()
        return out.decode()

    async with Origin(tree.root) as origin:
        mirror = Mirror(
            name="lxc", mount="/lxc/", origins=(origin.url,), keyring=str(keyring), answer_to=(url,)
        )
        config = make_config(tmp_path / "data", mirror)
        async with run_proxy(config, tls=certificate.server, listener=listener):
            (tmp_path / "lxd").mkdir()
            (tmp_path / "out").mkdir()
            await lxc("remote", "add", "r", url, "--protocol", "simplestreams")
            listed = json.loads(await lxc("image", "list", "r:", "--format=json"))
            await lxc("image", "export", "r:testos/r1", f"{tmp_path}/out/")

    assert [image["fingerprint"] for image in listed] == [fingerprint]
    assert sorted(path.read_bytes() for path in (tmp_path / "out").iterdir()) == sorted(data.values())

"""Who may read a mirror, over HTTP: networks, and users in the URL; plain, as http_proxy, and when hot."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests
from support.credentials import basic, user
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire, WireReply, request

from proxy.mirror import EVERYBODY, Mirror
from proxy.web.access.gate import AccessOptions
from proxy.web.access.passwords import PasswordHash
from proxy.web.admin.permission import AdminOptions
from proxy.web.app import Listening, create_app
from proxy.web.log_line import RequestLog

KIB = 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
INSIDE, OUTSIDE = "127.0.0.1", "127.0.0.2"
"""Two clients' addresses on loopback, of which the test's networks hold the first."""
NEAR = ("127.0.0.1", "10.0.0.0/8")
LEARNING = 3
"""So many times a request must come before its reply is ready."""


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Publish one small image."""
    item = tree.add_item(PRODUCT, "20250718", "boot-kernel", size=4 * KIB)
    tree.publish()
    return item


@pytest.fixture
def narrow(mirror: Mirror) -> Mirror:
    """Return a mirror of the same origin that one network may read."""
    return replace(mirror, allow=NEAR)


@asynccontextmanager
async def guarded(folder: Path, *mirrors: Mirror, **changes: Any) -> AsyncIterator[RunningProxy]:
    """Run a proxy with the users maas and lab."""
    users = (user("maas", "secret"), user("lab", "other"))
    async with run_proxy(make_config(folder / "data", *mirrors, users=users, **changes)) as proxy:
        yield proxy


@asynccontextmanager
async def connected(proxy: RunningProxy, address: str = INSIDE) -> AsyncIterator[Wire]:
    """Connect from an address."""
    host, port = proxy.base.rpartition("/")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), local_addr=(address, 0))
    yield Wire(reader, writer)
    writer.transport.abort()


async def ask(proxy: RunningProxy, target: str, address: str = INSIDE, **headers: str) -> WireReply:
    """Send one request on a connection of its own."""
    async with connected(proxy, address) as wire:
        return await wire.ask(target, **headers)


async def counted(proxy: RunningProxy, mirror: str = "test") -> dict[str, int]:
    """Return how many requests for a mirror ended how."""
    async with proxy.get("/-/stats") as response:
        requests: dict[str, int] = (await response.json())["mirrors"][mirror]["requests"]
        return requests


# Networks


async def test_who_is_outside_a_mirrors_networks_gets_a_403_that_says_why(
    tmp_path: Path, narrow: Mirror, origin: Origin, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with guarded(tmp_path, narrow) as proxy:
        mine = [await ask(proxy, narrow.mount + path) for path in (INDEX, item.path)]
        asked = len(origin.requests)
        theirs = [
            await ask(proxy, narrow.mount + path, OUTSIDE)
            for path in (INDEX, item.path, "streams/v1/other.json", "a/line%0abreak")
        ]
        requests = await counted(proxy)

    assert [reply.status for reply in mine] == [200, 200]
    assert [reply.status for reply in theirs] == [403] * 4
    assert b"127.0.0.2 may not read the mirror test" in theirs[0].body
    assert len(origin.requests) == asked
    assert (requests["denied"], requests["refused"], requests["error"]) == (4, 0, 0)
    denied = [record.getMessage() for record in caplog.records if "access.denied" in record.getMessage()]
    assert len(denied) == 4
    assert all("client=127.0.0.2" in line and "network" in line for line in denied)


async def test_the_first_page_says_so_to_whom_no_mirror_is_for(tmp_path: Path, mirror: Mirror) -> None:
    far = replace(mirror, allow=("10.0.0.0/8",))
    async with run_proxy(make_config(tmp_path / "data", far)) as proxy, proxy.session.get(proxy.base) as page:
        assert "None of its mirrors is for clients at your address." in await page.text()


async def test_one_mirror_may_be_for_everybody_and_another_for_one_network(
    tmp_path: Path, narrow: Mirror, item: TreeItem
) -> None:
    """Also where the welcome page names them."""
    public = replace(narrow, name="public", mount="/public/", allow=EVERYBODY)
    async with guarded(tmp_path, narrow, public) as proxy:
        statuses = [
            (await ask(proxy, one.mount + item.path, address)).status
            for one in (narrow, public)
            for address in (INSIDE, OUTSIDE)
        ]
        welcomes = [(await ask(proxy, "/", address)).body for address in (INSIDE, OUTSIDE)]

    assert statuses == [200, 403, 200, 200]
    assert [narrow.mount.encode() in body for body in welcomes] == [True, False]
    assert all(b"/public/" in body for body in welcomes)


async def test_the_networks_of_all_mirrors_leave_the_operators_pages_alone(
    tmp_path: Path, mirror: Mirror, item: TreeItem
) -> None:
    async with guarded(tmp_path, mirror, access=AccessOptions(allow=NEAR)) as proxy:
        assert (await ask(proxy, mirror.mount + item.path, OUTSIDE)).status == 403
        assert (await ask(proxy, mirror.mount + item.path)).status == 200
        for page in ("/-/health", "/-/stats"):
            assert (await ask(proxy, page, OUTSIDE)).status == 200


@pytest.mark.parametrize("part", [{}, {"Range": "bytes=64-2000"}], ids=["whole", "part"])
async def test_a_ready_reply_is_for_those_who_may_have_it(
    tmp_path: Path,
    narrow: Mirror,
    item: TreeItem,
    part: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The very same bytes of a request, from inside and outside, over and over."""
    head = request(narrow.mount + item.path, **part)
    async with guarded(tmp_path, narrow) as proxy, connected(proxy) as near, connected(proxy, OUTSIDE) as far:
        await proxy.read(item.path)
        await proxy.fills_ended()
        for _ in range(LEARNING):
            await near.send(head)
            assert (await near.reply()).body in item.read()
        loop = asyncio.get_running_loop()
        now = loop.time()
        with monkeypatch.context() as stopped:
            # What is known to be current at a moment is asked once then, if it holds for all.
            stopped.setattr(loop, "time", lambda: now)
            await near.send(head)
            assert (await near.reply()).status in {200, 206}
            await far.send(head)
            assert (await far.reply()).status == 403
        resolve, times = proxy.cache.delivery.resolve, 0

        async def counting(*arguments: Any) -> Any:
            nonlocal times
            times += 1
            return await resolve(*arguments)

        monkeypatch.setattr(proxy.cache.delivery, "resolve", counting)
        for _ in range(20):
            await near.send(head)
            assert (await near.reply()).status in {200, 206}
            await far.send(head)
            reply = await far.reply()
            assert reply.status == 403
            assert item.read()[64:128] not in reply.body

    assert times < 20  # Those from inside were ready ones, but for one a second.


async def test_ipv4_over_an_ipv6_socket_is_ipv4(tmp_path: Path, mirror: Mirror, item: TreeItem) -> None:
    """Sockets of systemd are such; there a client's address is ::ffff:127.0.0.1."""
    narrow = replace(mirror, allow=("127.0.0.1",))
    async with guarded(tmp_path, narrow, admin=AdminOptions(read="admins")) as proxy:
        gate = proxy.gate
        listener = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
        listener.setblocking(False)
        port = listener.getsockname()[1]
        app = create_app(proxy.cache, proxy.config.mirrors, gate, proxy.operator)
        listening = Listening(app, proxy.config.clients, RequestLog(logging.getLogger("proxy.access")))
        await listening.start([listener], None)
        own = f"http://127.0.0.1:{port}"
        replies = {}
        for address in (INSIDE, OUTSIDE):
            for target in (narrow.mount + item.path, own + narrow.mount + item.path, "/-/stats"):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
                wire = Wire(reader, writer)
                reply = await wire.ask(target, Host=f"127.0.0.1:{port}")
                replies[address, target.removeprefix(own)] = reply.status
                writer.transport.abort()
        await listening.stop()

    assert replies == {
        (INSIDE, narrow.mount + item.path): 200,
        (INSIDE, "/-/stats"): 200,
        (OUTSIDE, narrow.mount + item.path): 403,
        (OUTSIDE, "/-/stats"): 200,  # All of 127.0.0.0/8 is this machine.
    }


async def test_an_http_proxys_clients_need_the_network_too(
    tmp_path: Path, narrow: Mirror, origin: Origin, item: TreeItem
) -> None:
    async with guarded(tmp_path, narrow) as proxy:
        inside = await ask(proxy, origin.url + item.path)
        asked = len(origin.requests)
        outside = [await ask(proxy, origin.url + path, OUTSIDE) for path in (INDEX, item.path)]
        own = await ask(proxy, f"{proxy.base}{narrow.mount}{item.path}", OUTSIDE)

    assert inside.body == item.read()
    assert [reply.status for reply in (*outside, own)] == [403] * 3
    assert len(origin.requests) == asked


# Users


@pytest.fixture
async def proxy(tmp_path: Path, mirror: Mirror, item: TreeItem) -> AsyncIterator[RunningProxy]:
    """Return a proxy whose mirrors need a password, one of them another's."""
    labs = replace(mirror, name="labs", mount="/labs/", users=("lab",))
    async with guarded(tmp_path, mirror, labs, access=AccessOptions(users=("maas",))) as proxy:
        assert item.size
        yield proxy


async def test_without_a_password_clients_are_asked_for_one_and_nothing_else_happens(
    proxy: RunningProxy, origin: Origin, mirror: Mirror, item: TreeItem
) -> None:
    for path in (INDEX, item.path, "nothing"):
        reply = await ask(proxy, mirror.mount + path)
        assert reply.status == 401
        assert reply.headers["WWW-Authenticate"] == 'Basic realm="sstream-proxy", charset="UTF-8"'
        assert b"USER:PASSWORD@" in reply.body
    assert origin.requests == []
    assert (await counted(proxy))["denied"] == 3


async def test_a_url_with_user_and_password_works_for_the_clients_of_maas(
    proxy: RunningProxy, mirror: Mirror, item: TreeItem
) -> None:
    """Of MAAS up to 3.7 requests, of 3.8 aiohttp for lists."""
    url = f"{proxy.base.replace('://', '://maas:secret@')}{mirror.mount}"
    async with aiohttp.ClientSession() as session:
        for path in (INDEX, item.path):
            async with session.get(url + path) as response:
                assert response.status == 200

    def by_requests() -> bytes:
        return requests.get(url + item.path, timeout=20).content

    assert await asyncio.to_thread(by_requests) == item.read()


async def test_each_mirror_has_its_users(proxy: RunningProxy, mirror: Mirror, item: TreeItem) -> None:
    maas, lab = basic("maas", "secret"), basic("lab", "other")
    statuses = [
        (await ask(proxy, mount + item.path, Authorization=who)).status
        for mount in (mirror.mount, "/labs/")
        for who in (maas, lab, basic("maas", "wrong"))
    ]
    assert statuses == [200, 401, 401, 401, 200, 401]


async def test_no_cache_in_between_keeps_for_others_what_needs_a_password_or_network(
    tmp_path: Path, narrow: Mirror, item: TreeItem
) -> None:
    public = replace(narrow, name="public", mount="/public/", allow=EVERYBODY)
    secret = replace(public, name="secret", mount="/secret/", users=("maas",))
    async with guarded(tmp_path, narrow, public, secret) as proxy:
        said = [
            (await ask(proxy, one.mount + item.path, Authorization=basic("maas", "secret"))).headers[
                "Cache-Control"
            ]
            for one in (narrow, public, secret)
        ]
    assert [value.split(",")[0] for value in said] == ["private", "public", "private"]


async def test_what_is_beside_the_tree_is_absent_without_a_password(
    proxy: RunningProxy, mirror: Mirror
) -> None:
    """MAAS up to 3.7 asks there when its URL lacks the slash, and needs a 404."""
    assert (await ask(proxy, f"{mirror.mount.removesuffix('/')}streams/v1/index.sjson")).status == 404


@pytest.mark.parametrize("part", [{}, {"Range": "bytes=64-2000"}], ids=["whole", "part"])
async def test_a_ready_reply_needs_the_same_password(
    proxy: RunningProxy, mirror: Mirror, item: TreeItem, part: dict[str, str]
) -> None:
    path = mirror.mount + item.path
    right = request(path, Authorization=basic("maas", "secret"), **part)
    others = [
        request(path, **part),
        request(path, Authorization=basic("maas", "Secret"), **part),
        request(path, Authorization=basic("lab", "other"), **part),
    ]
    async with connected(proxy) as wire:
        for _ in range(LEARNING + 2):
            await wire.send(right)
            assert (await wire.reply()).status in {200, 206}
            for head in others:
                await wire.send(head)
                reply = await wire.reply()
                assert reply.status == 401
                assert item.read()[64:128] not in reply.body


async def test_an_http_proxy_with_user_and_password_works_and_asks_in_its_own_words(
    proxy: RunningProxy, origin: Origin, item: TreeItem
) -> None:
    """What a client has for the origin is not taken for the proxy's."""
    with_password = proxy.base.replace("://", "://maas:secret@")
    async with proxy.session.get(origin.url + item.path, proxy=with_password) as response:
        assert await response.read() == item.read()
    bare = await ask(proxy, origin.url + item.path)
    wrong = await ask(proxy, origin.url + item.path, Proxy_Authorization=basic("maas", "wrong"))

    for reply in (bare, wrong):
        assert reply.status == 407
        assert reply.headers["Proxy-Authenticate"].startswith("Basic ")
    assert not any("Authorization" in seen.headers for seen in origin.requests)
    assert not any("Proxy-Authorization" in seen.headers for seen in origin.requests)


async def test_neither_password_nor_hash_is_ever_told(
    proxy: RunningProxy, origin: Origin, mirror: Mirror, item: TreeItem, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await ask(proxy, mirror.mount + item.path)
    assert [record.levelname for record in caplog.records if "denied" in record.msg] == ["INFO"]
    for password in ("secret", "hunter2"):
        sent = basic("maas", password)
        for target in (mirror.mount + item.path, origin.url + item.path):
            await ask(proxy, target, Authorization=sent, Proxy_Authorization=sent)
        await ask(proxy, f"http://maas:{password}@{origin.url.removeprefix('http://')}{item.path}")
    told = caplog.text + repr(proxy.config)
    for page in ("/-/stats", "/-/metrics", "/-/", "/"):
        told += (await ask(proxy, page)).body.decode()

    assert "WARNING" in {record.levelname for record in caplog.records if "denied" in record.msg}
    for one in proxy.config.users:
        assert one.password_hash not in told
    for secret in ("hunter2", "maas:secret", *(basic("maas", p)[6:] for p in ("secret", "hunter2"))):
        assert secret not in told


async def test_while_a_password_is_hashed_others_are_served(
    proxy: RunningProxy, mirror: Mirror, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = basic("maas", "secret")
    await ask(proxy, mirror.mount + item.path, Authorization=right)
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(_: PasswordHash, __: bytes) -> bool:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
        return False

    monkeypatch.setattr(PasswordHash, "matches", slow)
    guess = asyncio.create_task(ask(proxy, mirror.mount + item.path, Authorization=basic("maas", "guess")))
    await begun.wait()
    reply = await ask(proxy, mirror.mount + item.path, Authorization=right)
    is_over = guess.done()
    go.set()

    assert (reply.status, is_over) == (200, False)
    assert (await guess).status == 401

"""What the proxy says of itself: a page for people, `/-/health` and `/-/stats` for programs."""

import asyncio
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree
from support.wire import Wire

from proxy import __version__
from proxy.mirror import Mirror

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
PAGES = ("/", "/-/health", "/-/stats")


@pytest.fixture
def mirrors(origin: Origin, keyring: Path) -> tuple[Mirror, ...]:
    """Return two mirrors; nothing answers for the second."""
    return (
        Mirror(name="one", mount="/one/", origins=(origin.url,), keyring=str(keyring)),
        Mirror(name="two", mount="/one/two/", origins=("http://127.0.0.1:1/",), keyring=str(keyring)),
    )


async def stats(proxy: RunningProxy) -> dict[str, dict[str, Any]]:
    """Return what is said of each mirror."""
    async with proxy.get("/-/stats") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        return dict((await response.json())["mirrors"])


async def test_the_welcome_page_lists_the_mirrors_as_urls_to_give_to_clients(
    tmp_path: Path, mirrors: tuple[Mirror, ...]
) -> None:
    """With the host by which the page was asked for."""
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy, Wire.to(proxy.base) as wire:
        page = await wire.ask("/", Host="cache.example.test:8080")

    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/plain")
    assert __version__ in page.body.decode()
    for mirror in mirrors:
        assert f"http://cache.example.test:8080{mirror.mount}\n" in page.body.decode()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/one", "there is http://cache.test:8080/one/; / lists"),
        ("/onestreams/v1/index.sjson", "there is http://cache.test:8080/one/; / lists"),
        ("/ONE/streams/v1/index.sjson", "there is http://cache.test:8080/one/; / lists"),
        ("//ONE", "there is http://cache.test:8080/one/; / lists"),
        ("/two/streams/v1/index.sjson", "there is http://cache.test:8080/one/two/; / lists"),
        ("/far/from/that", "no mirror is mounted here; / lists"),
        ("/-/statz", "the proxy has no such page at this address; / lists"),
    ],
)
async def test_a_path_beside_the_mounts_is_404_and_told_which_mount_is_near(
    tmp_path: Path, mirrors: tuple[Mirror, ...], path: str, told: str
) -> None:
    """No redirect: MAAS up to 3.7 asks beside a tree whose URL lacks its slash, and needs a 404."""
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy, Wire.to(proxy.base) as wire:
        reply = await wire.ask(path, Host="cache.test:8080")

    assert reply.status == 404
    assert told in reply.body.decode()


async def test_a_mirror_that_somebody_may_not_read_is_not_named_to_them(
    tmp_path: Path, mirrors: tuple[Mirror, ...]
) -> None:
    one, two = mirrors
    closed = replace(two, allow=("10.0.0.0/8",))
    async with run_proxy(make_config(tmp_path / "data", one, closed)) as proxy, Wire.to(proxy.base) as wire:
        hidden = await wire.ask("/two/", Host="cache.test")
        open_one = await wire.ask("/one", Host="cache.test")

    assert hidden.body.decode() == "no mirror is mounted here; / lists those that are\n"
    assert "there is http://cache.test/one/; " in open_one.body.decode()


async def test_a_browser_gets_the_welcome_page_as_a_page(
    tmp_path: Path, mirrors: tuple[Mirror, ...], keyring: Path
) -> None:
    """With what each client has to be told, and everything that it needs below the same path."""
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy, Wire.to(proxy.base) as wire:
        page = await wire.ask("/", Host="cache.example.test:8080", Accept="text/html,*/*;q=0.8")
        text = page.body.decode()
        files = [await wire.ask(target) for target in re.findall(r'(?:href|src)="(/\?file=[^"]+)"', text)]
        lost = await wire.ask("/?file=../dashboard.py")

    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Vary"] == "Accept"
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    assert "http://cache.example.test:8080/one/two/" in text
    assert f"--keyring={keyring}" in text
    assert [file.status for file in files] == [200] * 3
    assert lost.status == 404


@pytest.mark.parametrize("host", ["a'b", "a;b", "(a)", "%3Cscript%3E", ""])
async def test_the_welcome_page_repeats_no_host_that_nobody_has(proxy: RunningProxy, host: str) -> None:
    async with Wire.to(proxy.base) as wire:
        page = await wire.ask("/", Host=host)
        html = await wire.ask("/", Host=host, Accept="text/html")

    assert page.status == 200
    assert b"http://THIS-HOST/images/test/\n" in page.body
    assert b"http://THIS-HOST/images/test/<" in html.body
    assert not host or host.encode("latin-1") not in html.body


@pytest.mark.parametrize("host", ["<script>alert(1)</script>", "a b", "\xff\xfe", "a/b", "a?b"])
async def test_a_host_that_is_none_gets_no_page_and_is_not_repeated(proxy: RunningProxy, host: str) -> None:
    async with Wire.to(proxy.base) as wire:
        reply = await wire.ask("/", Host=host, Accept="text/html")

    assert reply.status == 400
    assert reply.body == b"this is no request that can be answered: its Host header names no host\n"


async def test_a_mirror_mounted_at_the_root_leaves_no_room_for_the_welcome_page(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    """The other pages stay where they are, and nothing below `/-/` is asked of the origin."""
    mirror = Mirror(name="root", mount="/", origins=(origin.url,), keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        statuses = [(await proxy.read(path)).status for path in ("/-/health", "/-/stats", "/-/nothing")]
        asked = len(origin.requests)
        welcome = await proxy.read("/")

    assert statuses == [200, 200, 404]
    assert asked == 0
    assert welcome.status == 404


async def test_health_is_told_whatever_upstream_does(proxy: RunningProxy, origin: Origin) -> None:
    """It says that this process answers; a load balancer must not take it out for an origin's trouble."""
    origin.gate("*")
    waiting = asyncio.create_task(proxy.read(INDEX))
    await origin.arrived(INDEX)

    async with asyncio.timeout(20):
        health = await proxy.read("/-/health")

    assert (health.status, health.body) == (200, b"ok\n")
    waiting.cancel()


@pytest.mark.parametrize("path", PAGES)
async def test_pages_are_plain_replies(proxy: RunningProxy, origin: Origin, path: str) -> None:
    """With a length, our own name, and an answer to HEAD; none of them asks the origin."""
    async with Wire.to(proxy.base) as wire:
        got, head = await wire.ask(path), await wire.ask(path, "HEAD")

    assert [reply.status for reply in (got, head)] == [200, 200]
    assert got.headers["Content-Length"] == head.headers["Content-Length"] == str(len(got.body))
    assert {reply.headers["Server"] for reply in (got, head)} == {f"sstream-proxy/{__version__}"}
    assert origin.requests == []


async def test_the_state_of_each_mirror_is_told(
    tmp_path: Path,
    mirrors: tuple[Mirror, ...],
    tree: SignedTree,
    clock: Clock,
    key: SigningKey,
) -> None:
    """Of one that is fine: how old, who signed it, how much it lists. Of the other: what is wrong."""
    for n in range(3):
        tree.add_item(PRODUCT, "20250718", f"file-{n}", size=10)
    tree.publish()
    async with run_proxy(make_config(tmp_path / "data", *mirrors), clock) as proxy:
        before = await stats(proxy)
        await proxy.read(f"/one/{INDEX}")
        assert (await proxy.read(f"/one/two/{INDEX}")).status == 503
        clock.advance(100)
        after = await stats(proxy)

    assert "generation" not in before["one"]
    assert before["two"]["failures"] == 0
    one, two = after["one"], after["two"]
    assert (one["documents"], one["items"], one["failures"], one["is_stale"]) == (2, 3, 0, False)
    assert one["signed_by"] == key.fingerprint
    assert one["updated"] == tree.updated_s
    assert one["checked_s_ago"] == 100
    assert two["failures"] == 1
    assert "127.0.0.1:1" in two["last_problem"]
    assert "generation" not in two


async def test_half_a_character_keeps_no_page_from_being_shown(proxy: RunningProxy) -> None:
    """Such as the name of a file that is no UTF-8, in what the system says of it."""
    storage = proxy.cache.storage
    trouble = {"failures": 2, "since": 1.0, "last_problem": "cannot read \udcff"}
    await storage.threads.ledger(storage.ledger.write, "trouble/test", trouble)

    for page in ("/-/", "/-/live"):
        reply = await proxy.read(page)
        assert (reply.status, b"cannot read \\udcff" in reply.body) == (200, True)
    assert (await proxy.read("/-/stats")).status == 200


async def test_a_refused_list_is_told(proxy: RunningProxy, origin: Origin, tree: SignedTree) -> None:
    """Which, and why; and that what is served has gone stale meanwhile."""
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish()
    await proxy.read(INDEX)
    origin.fault(INDEX, Fault(body=b"-----BEGIN PGP SIGNED MESSAGE-----\nno"))
    proxy.clock.advance(1000)
    await proxy.documents.checks.revalidate()

    told = (await stats(proxy))["test"]

    assert told["is_stale"] is True
    assert told["refusals"] == 1
    assert INDEX in told["last_refusal"]


async def test_lists_that_may_not_be_checked_are_not_called_stale(
    proxy: RunningProxy, tree: SignedTree
) -> None:
    """The proxy is offline on purpose: what counts is of when they are."""
    tree.add_item(PRODUCT, "20250718", "manifest", size=10)
    tree.publish()
    await proxy.read(INDEX)
    proxy.clock.advance(1000)
    found = []
    for is_offline in (False, True):
        proxy.cache.offline.turn(on=is_offline)
        page, figures = await proxy.read("/-/"), await proxy.read("/-/metrics")
        told = (await stats(proxy))["test"]
        stale = re.search(rb'sstream_proxy_mirror_stale\{mirror="test"\} (\S+)', figures.body)
        assert stale is not None
        words = b'warn">stale<' in page.body, b"offline, lists of 20" in page.body
        found.append((*words, told["is_stale"], told["is_asked"], float(stale[1])))

    assert found == [(True, False, True, True, 1.0), (False, True, False, False, 0.0)]


async def test_credentials_of_origins_are_not_told(
    tmp_path: Path, origin: Origin, keyring: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither on a page, nor in a reply, nor in the log."""
    caplog.set_level("DEBUG")
    urls = tuple(url.replace("http://", "http://user:s3cret@") for url in (origin.url, "http://127.0.0.1:1/"))
    mirror = Mirror(name="private", mount="/private/", origins=urls, keyring=str(keyring))
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        failed = await proxy.read(INDEX)
        texts = [failed.body, *[(await proxy.read(page)).body for page in PAGES]]

    assert failed.status == 503
    assert origin.requests[0].headers["Authorization"].startswith("Basic ")
    assert not any(b"s3cret" in text for text in texts)
    assert "s3cret" not in caplog.text

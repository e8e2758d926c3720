"""The operator's actions over HTTP: what they do, who may do it, and what is said of it."""

import asyncio
import json
import logging
import re
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.admin_api import (
    ACTIONS,
    FOREIGN,
    INDEX,
    LOCAL,
    PRODUCT,
    SHA256,
    TOKEN,
    act,
    fetch,
    list_two_versions,
    post,
    refused,
    run_with_rule,
    with_admin,
)
from support.exchange import read
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, run_proxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem
from support.wire import Wire, request
from support.workers import frozen
from yarl import URL

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.web.admin.permission import AdminOptions


@pytest.fixture
def items(tree: SignedTree) -> dict[str, TreeItem]:
    """Return two items of each of two versions, by version and name."""
    return list_two_versions(tree)


@pytest.fixture
async def proxy(
    tmp_path: Path, mirror: Mirror, origin: Origin, keyring: Path, clock: Clock
) -> AsyncIterator[RunningProxy]:
    """Return a proxy with two mirrors and a rule."""
    async with run_with_rule(tmp_path, mirror, origin, keyring, clock) as proxy:
        yield proxy


def here(proxy: RunningProxy, items: dict[str, TreeItem]) -> set[str]:
    """Return which items are in the store."""
    return {name for name, item in items.items() if proxy.store.has(Digest(item.digest))}


async def pinned(proxy: RunningProxy, items: dict[str, TreeItem], name: str = "by hand") -> set[str]:
    """Return which items a pin keeps."""
    storage = proxy.cache.storage
    digests = await storage.threads.ledger(storage.pins.pinned_by, name)
    return {name for name, item in items.items() if item.digest in digests}


def aims(items: dict[str, TreeItem]) -> dict[str, tuple[dict[str, Any], set[str]]]:
    """Return the ways to say which items are meant, and what each means."""
    item = items["20250718/squashfs"]
    return {
        "path": ({"filters": [f"path={item.path}"]}, {"20250718/squashfs"}),
        "version": (
            {"filters": ["version_name=20250701"]},
            {"20250701/squashfs", "20250701/boot-kernel"},
        ),
        "newest": ({"max": 1}, {"20250718/squashfs", "20250718/boot-kernel"}),
        "digest": ({"digests": [item.digest.upper()]}, {"20250718/squashfs"}),
        "mirror": ({"mirrors": ["second"], "filters": ["ftype=squashfs"]},
                   {"20250718/squashfs", "20250701/squashfs"}),
        "both": (
            {"digests": [item.digest], "filters": ["version_name=20250701"]},
            {"20250718/squashfs", "20250701/squashfs", "20250701/boot-kernel"},
        ),
    }  # fmt: skip


AIMS = pytest.mark.parametrize("aim", ["path", "version", "newest", "digest", "mirror", "both"])


# What actions do


@AIMS
async def test_a_pin_keeps_what_is_aimed_at_and_unpin_lets_go_of_it(
    proxy: RunningProxy, items: dict[str, TreeItem], aim: str
) -> None:
    """Whether it is here or still to come; other pins stay."""
    order, meant = aims(items)[aim]
    await fetch(proxy, items["20250718/squashfs"])

    done = await act(proxy, "pin", **order, name="mine")
    await act(proxy, "pin", **order)

    assert await pinned(proxy, items, "mine") == meant
    assert (done["action"], done["blobs"]) == ("pin", len(meant))
    assert done["bytes"] == sum(items[one].size for one in meant if aim != "digest" or one in meant)

    await act(proxy, "unpin", **order, name="mine")
    assert await pinned(proxy, items, "mine") == set()
    assert await pinned(proxy, items) == meant


async def test_unpin_without_an_aim_lets_go_of_a_whole_pin(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    await act(proxy, "pin", filters=["version_name=20250701"])
    await act(proxy, "pin", filters=["version_name=20250718"])
    await act(proxy, "pin", max=1, name="other")

    done = await act(proxy, "unpin")

    assert done["blobs"] == 4
    assert await pinned(proxy, items) == set()
    assert await pinned(proxy, items, "other") == {"20250718/squashfs", "20250718/boot-kernel"}


@AIMS
async def test_evict_removes_what_is_aimed_at_but_what_is_pinned(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    order, meant = aims(items)[aim]
    spared = items["20250701/squashfs"]
    await fetch(proxy, *items.values())
    await act(proxy, "pin", digests=[spared.digest])

    done = await act(proxy, "evict", **order)

    gone = meant - {"20250701/squashfs"}
    assert here(proxy, items) == set(items) - gone
    assert (done["blobs"], done["bytes"]) == (len(gone), sum(items[one].size for one in gone))
    assert ("1 is pinned" in done["text"]) == (gone != meant)
    origin.clear()
    for one in gone:
        assert (await proxy.read(items[one].path)).body == items[one].read()
    assert origin.count("com.ubuntu*") == len(gone)


async def test_evict_tells_what_it_removed_not_what_was_never_here(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    item = items["20250718/squashfs"]
    await fetch(proxy, item)

    done = await act(proxy, "evict", filters=["arch=amd64"])

    assert (done["blobs"], done["bytes"], done["text"]) == (1, item.size, "1 blob gone")
    assert (await act(proxy, "purge", max=1))["blobs"] == 0


async def test_evict_names_the_pins_that_keep_what_is_still_here(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"], name="lab")

    assert (await act(proxy, "evict", filters=["arch=amd64"]))["pins"] == ["lab"]


@AIMS
async def test_purge_removes_what_is_aimed_at_with_its_pins(
    proxy: RunningProxy, items: dict[str, TreeItem], aim: str
) -> None:
    order, meant = aims(items)[aim]
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"])

    done = await act(proxy, "purge", **order)

    assert here(proxy, items) == await pinned(proxy, items) == set(items) - meant
    assert (done["blobs"], done["bytes"]) == (len(meant), sum(items[one].size for one in meant))


@pytest.mark.parametrize("aim", ["path", "digest"])
async def test_purge_forgets_that_an_item_was_bad(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    """It is fetched again at once, rather than in five minutes."""
    item = items["20250718/squashfs"]
    order, _ = aims(items)[aim]
    origin.fault(item.path, Fault(corrupt_at=1), times=1)
    for _ in range(2):
        with pytest.raises(Exception):  # noqa: B017, PT011 - the connection is cut in one way or the other
            assert (await proxy.read(item.path)).is_complete
    assert origin.count(item.path) == 1

    await act(proxy, "purge", **order)

    assert (await proxy.read(item.path)).body == item.read()


@pytest.mark.parametrize("aim", ["path", "digest"])
async def test_purge_forgets_that_an_item_was_absent(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin, aim: str
) -> None:
    item = items["20250718/squashfs"]
    order, _ = aims(items)[aim]
    fault = origin.fault(item.path, Fault(status=404))
    assert (await proxy.read(item.path)).status == 404
    fault.remove()
    assert (await proxy.read(item.path)).status == 404

    await act(proxy, "purge", **order)

    assert (await proxy.read(item.path)).body == item.read()


async def test_purge_removes_the_beginning_of_a_transfer(
    proxy: RunningProxy, tree: SignedTree, origin: Origin
) -> None:
    item = tree.add_item(PRODUCT, "20250801", "squashfs", size=200_000)
    tree.publish()
    origin.fault(item.path, Fault(stall_after=100_000), times=1)
    origin.fault(item.path, Fault(refuse=True))
    await proxy.read(item.path)
    await proxy.fills_ended()
    partial = proxy.layout.incoming / item.digest
    assert partial.stat().st_size == 100_000

    await act(proxy, "purge", digests=[item.digest])

    assert not partial.exists()
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["store"]["reserved_bytes"] == 0


async def test_refresh_checks_mirrors_now(
    proxy: RunningProxy, items: dict[str, TreeItem], tree: SignedTree, origin: Origin
) -> None:
    """All of them unless some are named."""
    assert items
    await proxy.read(INDEX)
    tree.publish()
    new = (tree.root / INDEX).read_bytes()
    origin.clear()

    assert (await act(proxy, "refresh", mirrors=["second"]))["text"] == "checked second"
    assert (await proxy.read(INDEX)).body != new
    assert (await act(proxy, "refresh"))["text"] == "checked test, second"
    assert (await proxy.read(INDEX)).body == new


async def test_a_refresh_that_fails_says_why(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin
) -> None:
    assert items
    await proxy.read(INDEX)
    origin.fault("*", Fault(status=500))

    why = await refused(proxy, "refresh", {"mirrors": ["test"]}, status=502)

    assert why.startswith("test: ")
    assert "500" in why


async def test_offline_is_switched_at_once_and_lasts(
    proxy: RunningProxy, items: dict[str, TreeItem], origin: Origin
) -> None:
    one, other = items["20250718/squashfs"], items["20250701/squashfs"]
    await fetch(proxy, one)
    origin.clear()

    await act(proxy, "offline", on=True)

    assert (await proxy.read(one.path)).cache_status == "hit"
    assert (await proxy.read(other.path)).status == 504
    assert "offline" in await refused(proxy, "refresh", {})
    assert origin.requests == []
    async with run_proxy(proxy.config) as restarted:
        assert (await restarted.read(other.path)).status == 504

    await act(proxy, "offline", on=False)
    assert (await proxy.read(other.path)).body == other.read()


async def test_offline_by_configuration_is_not_switched(proxy: RunningProxy) -> None:
    config = replace(proxy.config, offline=True, data_dir=proxy.config.data_dir / "other")
    async with run_proxy(config) as other:
        assert "configuration" in await refused(other, "offline", {"on": False})


async def test_scrub_and_prefetch_are_left_to_the_keeper(proxy: RunningProxy) -> None:
    """They may take hours; whoever asks is not kept waiting."""
    assert "hashed" in (await act(proxy, "scrub"))["text"]
    assert "lab" in (await act(proxy, "prefetch", rule="lab"))["text"]
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["scrub"]["asked_at"] == proxy.clock.now
    storage = proxy.cache.storage
    asked = await storage.threads.ledger(storage.ledger.keys, "")
    assert any("lab" in key for key in asked)


# Orders that cannot be followed


@pytest.mark.parametrize("action", ["pin", "evict", "purge"])
async def test_an_aim_is_needed(proxy: RunningProxy, items: dict[str, TreeItem], action: str) -> None:
    """Nobody purges everything by saying too little."""
    await fetch(proxy, *items.values())
    orders: tuple[object, ...] = ({}, {"filters": []}, {"mirrors": ["test"]}, None, b"")
    for order in orders:
        assert "say which items are meant" in await refused(proxy, action, order)
    assert here(proxy, items) == set(items)


@pytest.mark.parametrize(
    ("action", "order", "why"),
    [
        ("unpin", {"filter": ["arch=amd64"]}, "no field 'filter'"),
        ("purge", {"filters": ["arch=amd64"], "Digests": []}, "no field 'Digests'"),
        ("evict", {"filters": ["arch=amd64"], "name": "x"}, "no field 'name'"),
        ("scrub", {"now": True}, "no field 'now'"),
        ("purge", {"filters": ["arch=amd64"], "arch": ["arm64"]}, "'arch' goes with 'maas'"),
        ("purge", {"filters": "arch=amd64"}, "'filters' must be a list"),
        ("purge", {"filters": [1]}, "'filters' must be a list"),
        ("purge", {"filters": {"arch": "amd64"}}, "'filters' must be a list"),
        ("purge", {"filters": ["arch"]}, "arch"),
        ("purge", {"filters": ["path~("]}, "path~("),
        ("purge", {"filters": ["path=no/such/path"]}, "matches nothing"),
        ("purge", {"digests": ["abc"]}, "abc"),
        ("purge", {"digests": ["../../../../etc/passwd"]}, "passwd"),
        ("purge", {"digests": ["g" * 64]}, "ggg"),
        ("purge", {"max": 0}, "'max' must be"),
        ("purge", {"max": -1}, "'max' must be"),
        ("purge", {"max": True}, "'max' must be"),
        ("purge", {"max": 1.0}, "'max' must be"),
        ("purge", {"max": "1"}, "'max' must be"),
        ("purge", {"max": 1, "mirrors": ["third"]}, "there are: test, second"),
        ("pin", {"max": 1, "name": 7}, "'name' must be a text"),
        ("pin", {"max": 1, "name": None}, "'name' must be a text"),
        ("refresh", {"mirrors": ["third"]}, "there are: test, second"),
        ("refresh", {"mirrors": "test"}, "'mirrors' must be a list"),
        ("prefetch", {}, "there are: lab"),
        ("prefetch", {"rule": "none"}, "there are: lab"),
        ("prefetch", {"rule": ["lab"]}, "'rule' must be a text"),
        ("offline", {}, "'on' must be"),
        ("offline", {"on": "off"}, "'on' must be"),
        ("offline", {"on": 0}, "'on' must be"),
        ("scrub", [], "JSON object"),
        ("scrub", "text", "JSON object"),
        ("scrub", b"null", "JSON object"),
        ("scrub", b"{", "no JSON"),
        ("scrub", b"\xff\xfe", "no JSON"),
        ("scrub", b"on=true", "no JSON"),
        ("scrub", b"[" * 100_000, "no JSON"),
        ("scrub", b"1" * 10_000, "no JSON"),
    ],
)
async def test_a_wrong_order_changes_nothing_and_says_what_is_wrong(
    proxy: RunningProxy, items: dict[str, TreeItem], action: str, order: object, why: str
) -> None:
    """A field that is misspelt, above all: without it the rest might mean everything."""
    await fetch(proxy, *items.values())
    await act(proxy, "pin", filters=["arch=amd64"])

    assert why in await refused(proxy, action, order)

    assert here(proxy, items) == await pinned(proxy, items) == set(items)
    assert not proxy.cache.offline.is_on


async def test_an_action_that_is_none_is_told_with_those_there_are(proxy: RunningProxy) -> None:
    why = await refused(proxy, "destroy", {}, status=404)
    assert all(action in why for action in ACTIONS)


async def test_a_body_may_come_in_pieces(proxy: RunningProxy, items: dict[str, TreeItem]) -> None:
    """As the network cuts it; each piece is waited for."""
    body = json.dumps({"digests": [item.digest for item in items.values()]}).encode()
    async with Wire.to(proxy.base) as wire:
        head = request("/-/api/v1/pin", "POST", **LOCAL, Content_Length=str(len(body)))
        await wire.send(head + body[:20])
        # Its answer tells that the proxy has read the first piece.
        assert (await proxy.read("/-/health")).status == 200
        await wire.send(body[20:40])
        assert (await proxy.read("/-/health")).status == 200
        await wire.send(body[40:])
        assert (await wire.reply()).status == 200

    assert await pinned(proxy, items) == set(items)


async def test_a_long_body_is_read_whole_and_a_huge_one_is_refused(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    digests = [item.digest for item in items.values()]
    await act(proxy, "pin", digests=[f"{number:064x}" for number in range(10_000)] + digests)
    assert await pinned(proxy, items) == set(items)

    huge = await post(proxy, "unpin", body=b'{"name": "' + b"x" * 2 * 1024**2 + b'"}')

    assert huge.status == 413
    assert await pinned(proxy, items) == set(items)


# Who may change something


async def test_a_change_from_another_machine_needs_the_token(proxy: RunningProxy) -> None:
    async with with_admin(proxy, token_sha256=SHA256) as other:
        for wrong in ("", f"Bearer {TOKEN.lower()}", f"Bearer {TOKEN}x", f"Bearer {SHA256}", "Bearer \xff"):
            headers = FOREIGN | ({"Authorization": wrong} if wrong else {})
            assert (await post(other, "scrub", headers)).status == 403, wrong
        assert (await post(other, "scrub", FOREIGN | {"Authorization": f"Bearer {TOKEN}"})).status == 200


@pytest.mark.parametrize("action", ACTIONS)
async def test_no_page_of_another_site_can_change_anything(
    proxy: RunningProxy, items: dict[str, TreeItem], action: str
) -> None:
    """Not even in the browser of somebody who sits at the proxy's machine."""
    await fetch(proxy, *items.values())
    order = json.dumps(
        {"digests": [item.digest for item in items.values()], "on": True, "rule": "lab"}
    ).encode()
    here_now = {"Host": "localhost"}
    attempts = [
        *({**here_now, "Content-Type": kind} for kind in
          ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
           "application/json")),
        {**LOCAL, "Origin": "http://evil.test"},
        {**LOCAL, "Origin": "null"},
        {**LOCAL, "Origin": "http://localhost:9999"},
        {**LOCAL, "Host": "evil.test", "Origin": "http://evil.test"},
        {**LOCAL, "X-Forwarded-For": "127.0.0.1"},
        {**LOCAL, "Forwarded": "for=127.0.0.1"},
    ]  # fmt: skip

    statuses = [(await post(proxy, action, headers, order)).status for headers in attempts]

    assert statuses == [403] * len(attempts)
    assert here(proxy, items) == set(items)
    assert not proxy.cache.offline.is_on


async def test_a_browser_that_asks_for_permission_gets_none(proxy: RunningProxy) -> None:
    """The preflight that the change header makes necessary (CORS)."""
    async with Wire.to(proxy.base) as wire:
        reply = await wire.ask(
            "/-/api/v1/purge",
            "OPTIONS",
            Host="localhost",
            Origin="http://evil.test",
            Access_Control_Request_Method="POST",
            Access_Control_Request_Headers="x-sstream-proxy",
        )
    assert reply.status >= 400
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


async def test_nothing_is_changed_by_get(proxy: RunningProxy) -> None:
    async with Wire.to(proxy.base) as wire:
        assert (await wire.ask("/-/api/v1/scrub", **LOCAL)).status == 404
    async with proxy.get("/-/stats") as response:
        assert (await response.json())["scrub"]["asked_at"] == 0


async def test_who_hung_up_before_being_looked_at_is_not_taken_for_a_local_socket(
    tmp_path: Path, mirror: Mirror
) -> None:
    """The connection has no address any more by then (uvloop), and what it sent is still read."""
    body = b'{"on": true}'
    order = request("/-/api/v1/offline", "POST", **FOREIGN, Content_Length=str(len(body))) + body
    async with run_service(write_config(tmp_path, mirror)) as service:
        url = URL(service.base)
        with frozen(service.worker_pids()):
            for _ in range(5):
                with socket.create_connection((url.host, url.port)) as connection:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.sendall(order)
        stats = json.loads((await read(url / "-/stats")).body)

    assert not stats["offline"]
    assert "admin.done" not in service.log()


# Who may read


OPERATORS_PAGES = ("/-/stats", "/-/metrics", "/-/api/v1/openapi.json", "/-/live", "/%2D/stats")


@pytest.mark.parametrize("path", OPERATORS_PAGES)
async def test_reading_can_be_left_to_admins(proxy: RunningProxy, path: str) -> None:
    async with with_admin(proxy, read="admins", token_sha256=SHA256) as other:
        port = urlsplit(other.base).port
        absolute = f"http://127.0.0.1:{port}{path}"
        async with Wire.to(other.base) as wire:
            assert (await wire.ask(path, Host="cache.example.test")).status == 403
            assert (await wire.ask(absolute, Host="cache.example.test")).status == 403
            assert (await wire.ask(path, Host="localhost", Via="1.1 x")).status == 403
            assert (await wire.ask(path, Host="localhost")).status == 200
            token = await wire.ask(path, Host="x.test", Authorization=f"Bearer {TOKEN}")
            assert token.status == 200


async def test_the_dashboard_asks_for_the_token_and_tells_nothing_before(proxy: RunningProxy) -> None:
    async with with_admin(proxy, read="admins", token_sha256=SHA256) as other, Wire.to(other.base) as wire:
        strangers = await wire.ask("/-/", Host="cache.example.test")
        admins = await wire.ask("/-/", Host="localhost")

    assert (strangers.status, admins.status) == (200, 200)
    for figure in (b">second<", proxy.config.mirrors[0].origins[0].encode(), b"<table"):
        assert figure in admins.body
        assert figure not in strangers.body


async def test_which_client_asked_for_what_is_shown_to_admins_alone(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    path, address = items["20250718/squashfs"].path, b"127.0.0.1"
    async with with_admin(proxy, token_sha256=SHA256) as other, Wire.to(other.base) as wire:
        assert (await wire.ask(MOUNT + path, Host="localhost", User_Agent="tell-tale/1.0")).status == 200
        others = {"Host": "cache.lan"}
        admins = [{"Host": "localhost"}, {**others, "Authorization": f"Bearer {TOKEN}"}]
        for page in ("/-/clients", "/-/live/clients?search=127", "/-/files?state=here", "/-/live/files"):
            shown = [await wire.ask(page, **who) for who in admins]
            hidden = await wire.ask(page, **others)

            assert [one.status for one in (*shown, hidden)] == [200, 200, 200]
            asked = [one.body.replace(b"http://127.0.0.1", b"") for one in (*shown, hidden)]
            assert [address in one for one in asked] == [True, True, False], page
            assert b"tell-tale" not in hidden.body
            assert ("clients" in page) is (b"admins alone" in hidden.body)


async def test_a_page_says_why_it_is_not_shown_under_a_foreign_name(proxy: RunningProxy) -> None:
    async with with_admin(proxy, token_sha256=SHA256) as other, Wire.to(other.base) as wire:
        page = await wire.ask("/-/releases", Host="cache.example.org")

    assert page.status == 200
    assert b"not shown under the name" in page.body
    assert b"[admin] names" in page.body


@pytest.mark.parametrize("query", ["page=-1", "page=0", f"page={'9' * 30}", f"page={'9' * 5000}", "page=%00"])
@pytest.mark.parametrize("page", ["files", "clients", "pins?name=x&", "releases"])
async def test_any_number_of_a_page_is_answered(proxy: RunningProxy, page: str, query: str) -> None:
    address = f"/-/live/{page}{'' if '?' in page else '?'}{query}"

    assert (await proxy.read(address)).status == 200


@pytest.mark.usefixtures("items")
async def test_behind_the_last_page_of_files_is_the_last(proxy: RunningProxy) -> None:
    await proxy.read(f"{MOUNT}{INDEX}")

    assert b"<tbody>" in (await proxy.read("/-/live/files?page=99999")).body


async def test_when_only_admins_read_the_mirrors_and_health_are_still_for_all(
    proxy: RunningProxy, items: dict[str, TreeItem]
) -> None:
    async with with_admin(proxy, read="admins") as other, Wire.to(other.base) as wire:
        for path in ("/-/health", "/", f"{MOUNT}{INDEX}", f"{MOUNT}{items['20250718/squashfs'].path}"):
            assert (await wire.ask(path, Host="cache.example.test")).status == 200, path
        strangers = await wire.ask("/-/ready", Host="cache.example.test")
        admins = await wire.ask("/-/ready", Host="localhost")

    assert (strangers.status, admins.status) == (503, 503)
    assert "mirror second has no verified lists" in json.loads(admins.body)["reasons"][0]
    assert json.loads(strangers.body) == {
        "ready": False,
        "reasons": [
            "not told: reading this needs an admin: give the token, or come from the proxy's own machine"
        ],
    }


# What is said of it


async def test_every_action_is_in_the_log_with_who_and_what(
    proxy: RunningProxy, items: dict[str, TreeItem], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    item = items["20250718/squashfs"]
    await fetch(proxy, item)
    orders: dict[str, dict[str, Any]] = {
        "pin": {"digests": [item.digest], "name": "keep"},
        "unpin": {"name": "keep"},
        "evict": {"filters": ["ftype=squashfs"]},
        "purge": {"max": 1},
        "refresh": {"mirrors": ["test"]},
        "scrub": {},
        "prefetch": {"rule": "lab"},
        "offline": {"on": True},
    }
    assert set(orders) == set(ACTIONS)
    for action, order in orders.items():
        await act(proxy, action, **order)

    lines = [one.getMessage() for one in caplog.records if one.getMessage().startswith("admin.done")]

    assert [re.search(r"action=(\w+) by=client 127\.0\.0\.1 what=", line)[1] for line in lines] == [*orders]  # type: ignore[index]
    for line, what in zip(
        lines, (item.digest, "", "ftype=squashfs", "max=1", "test", "all", "lab", "on"), strict=True
    ):
        assert f"what={what}" in line or f"test: {what}" in line


async def test_who_was_turned_away_is_in_the_log(
    proxy: RunningProxy, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    await post(proxy, "purge", FOREIGN, {})
    await asyncio.sleep(0)

    (line,) = [one.getMessage() for one in caplog.records if "/-/api/v1/purge" in one.getMessage()]

    assert "client=127.0.0.1 method=POST path=/-/api/v1/purge status=403" in line


async def test_no_secret_is_told_anywhere(
    proxy: RunningProxy, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither tokens nor passwords of URLs: in the log, figures, metrics, or what is said of errors."""
    caplog.set_level(logging.DEBUG)
    urls = tuple(u.replace("//", "//user:s3cret@") for u in (origin.url, "http://127.0.0.1:1/"))
    mirror = replace(proxy.config.mirrors[0], origins=urls)
    config = replace(
        proxy.config,
        data_dir=proxy.config.data_dir / "other",
        mirrors=(mirror,),
        prefetch=(),
        admin=AdminOptions(token_sha256=SHA256),
    )
    token = {"Authorization": f"Bearer {TOKEN}"}
    origin.fault("*", Fault(status=500))
    async with run_proxy(config) as other, Wire.to(other.base) as wire:
        replies = [
            await post(other, "refresh", FOREIGN | token, {}),
            await post(other, "pin", FOREIGN | token, {"max": 1}),
            await post(other, "purge", FOREIGN | {"Authorization": f"Bearer {TOKEN}!"}, {}),
            *[await wire.ask(path, **token) for path in ("/", "/-/", *OPERATORS_PAGES, "/-/ready")],
            await wire.ask(f"http://user:s3cret@127.0.0.1:1/{INDEX}"),
            await wire.ask(f"http://user:s3cret@elsewhere.test/{INDEX}"),
        ]
    said = caplog.text + "".join(reply.body.decode() for reply in replies)

    assert origin.requests[0].headers["Authorization"].startswith("Basic ")
    assert [reply.status for reply in replies[:3]] == [502, 400, 403]
    for secret in ("s3cret", TOKEN, SHA256):
        assert secret not in said


async def test_the_password_of_a_parent_proxy_that_refuses_is_not_told(
    proxy: RunningProxy, origin: Origin, caplog: pytest.LogCaptureFixture
) -> None:
    """As one does whose password has just been changed."""
    caplog.set_level(logging.DEBUG)
    origin.fault("*", Fault(status=407))
    parent = origin.url.replace("//", "//user:s3cret@")
    config = replace(
        proxy.config,
        data_dir=proxy.config.data_dir / "other",
        mirrors=(replace(proxy.config.mirrors[0], origins=("https://images.example.test/",)),),
        prefetch=(),
        upstream=replace(proxy.config.upstream, parent_proxy=parent),
    )
    async with run_proxy(config) as other:
        replies = [await other.read(path) for path in (INDEX, "/-/stats", "/-/", "/-/ready")]

    assert replies[0].status == 503
    assert not any(b"s3cret" in reply.body for reply in replies)
    assert "s3cret" not in caplog.text

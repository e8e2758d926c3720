"""Who may read the operator's pages and figures."""

import json
from urllib.parse import urlsplit

import pytest
from support.admin_api import (
    INDEX,
    OPERATORS_PAGES,
    SHA256,
    TOKEN,
    with_admin,
)
from support.running import MOUNT, RunningProxy
from support.tree import TreeItem
from support.wire import Wire


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

"""The pages with long lists in a real browser: pins, clients, files."""

import hashlib
from pathlib import Path

import pytest
from playwright.async_api import Browser, expect
from support.browser import NARROW, WIDE, open_page
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, make_config, run_proxy
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.web.admin.permission import AdminOptions

pytestmark = pytest.mark.asyncio(loop_scope="session")

INDEX = "streams/v1/index.sjson"


@pytest.fixture
def mirror(origin: Origin, keyring: Path) -> Mirror:
    return Mirror(name="maas", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))


@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_pins_say_what_holds_them_and_are_let_go_file_by_file(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirror: Mirror, screenshots: Path, width: int
) -> None:
    noble = [item for item in tree.items if "noble/amd64" in item.path]
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        for item in noble[:2]:
            await proxy.read(item.path)
        storage = proxy.cache.storage
        digests = [Digest(item.digest) for item in noble[:3]]
        await storage.threads.ledger(storage.pins.pin_all, "by hand", digests)
        await storage.threads.ledger(storage.pins.pin_all, "rule gone", digests[:1])
        async with open_page(browser, f"{proxy.base}/-/pins", width) as watched:
            page = watched.page
            assert "configured no more" in (await watched.cells("pins", "rule gone"))[1]
            assert (await watched.cells("pins", "by hand"))[2] == "2 and 1 to come"
            assert await watched.overflow() == 0
            await watched.shoot(screenshots / f"pins-{width}.png")
            await page.get_by_role("link", name="by hand").click()
            await expect(page.locator("#pinned tbody tr")).to_have_count(3)
            assert await watched.overflow() == 0
            await page.get_by_role("button", name=f"Unpin {noble[1].path}").click()
            await page.locator("#sure .hurts").click()
            await expect(page.locator("#pinned tbody tr")).to_have_count(2)
            await watched.follow("Pins")
            await watched.confirm("Unpin by hand")
            await expect(page.locator("#pins tbody tr")).to_have_count(1)

            assert watched.problems == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_clients_are_shown_with_what_they_do(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirror: Mirror, screenshots: Path, width: int
) -> None:
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        async with open_page(browser, f"{proxy.base}/-/clients", width) as watched:
            await expect(watched.page.locator("#clients")).to_contain_text("connect a client")
        for agent in ("maas/3.4.0/x", "Go-http-client/1.1 Incus"):
            headers = {"User-Agent": agent}
            async with proxy.get(MOUNT + tree.items[0].path, headers=headers) as reply:
                await reply.read()
        async with open_page(browser, f"{proxy.base}/-/clients?order=bytes", width) as watched:
            cells = await watched.cells("clients", "127.0.0.1")
            assert cells[1] == "Incus"
            assert cells[4] == "2, 50%"
            assert await watched.overflow() == 0
            await watched.shoot(screenshots / f"clients-{width}.png")
            await watched.page.get_by_label("Address, mirror or program").fill("10.")
            await watched.page.get_by_role("button", name="Show").click()
            await expect(watched.page.locator("#clients")).to_contain_text("No client of that address")
            await expect(watched.page.get_by_label("by", exact=True)).to_have_value("bytes")

            assert watched.problems == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_files_are_found_filtered_and_told_of(
    browser: Browser,
    tmp_path: Path,
    tree: SignedTree,
    mirror: Mirror,
    origin: Origin,
    screenshots: Path,
    width: int,
) -> None:
    item = max((one for one in tree.items if "noble/amd64" in one.path), key=lambda one: one.path)
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        await proxy.read(item.path)
        await proxy.fills_ended()
        async with open_page(browser, f"{proxy.base}/-/files", width) as watched:
            page = watched.page
            rows = page.locator("#files tbody tr")
            await page.get_by_label("Words").fill("NOBLE amd64 20250709")
            await page.get_by_role("button", name="Find").click()
            await expect(rows.filter(has_text=item.path)).to_have_count(1)
            row = rows.filter(has_text=item.path)
            for told in (item.digest, "here", origin.url, "asked 1 time by 127.0.0.1", "squashfs"):
                await expect(row).to_contain_text(told)
            assert await watched.overflow() == 0
            await watched.shoot(screenshots / f"files-{width}.png")
            await page.get_by_label("State").select_option("upstream")
            await page.get_by_role("button", name="Find").click()
            await expect(rows.filter(has_text=item.path)).to_have_count(0)
            await page.get_by_label("State").select_option("here")
            await page.get_by_role("button", name="Find").click()
            await expect(rows).to_have_count(1)
            await page.get_by_role("button", name=f"Pin {item.path}").click()
            await expect(rows).to_contain_text("pinned")
            await page.get_by_role("button", name=f"Unpin {item.path}").click()
            await page.locator("#sure .hurts").click()
            await expect(rows).not_to_contain_text("pinned")
            await page.get_by_role("button", name=f"Evict {item.path}").click()
            await expect(page.get_by_role("dialog")).to_contain_text("It is fetched again")
            await page.get_by_role("button", name="Cancel").click()
            assert proxy.store.has(Digest(item.digest))
            await page.get_by_role("button", name=f"Evict {item.path}").click()
            await page.locator("#sure .hurts").click()
            await expect(page.locator("#answer")).to_have_text("1 blob gone")

            assert not proxy.store.has(Digest(item.digest))
            assert watched.problems == []


@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_whatever_lists_and_clients_say_is_shown_as_text_and_fits(
    browser: Browser, tmp_path: Path, key: SigningKey, mirror: Mirror, width: int
) -> None:
    hostile = [
        "</script><script>alert(1)</script>",
        'a" onfocus="alert(1)',
        "x" * 500,
        "\u202etfel\u202c",
        "\x01",
    ]
    tree = SignedTree(tmp_path / "upstream", key)
    for number, name in enumerate(hostile):
        tree.product(f"p:{name}", release=name, arch="amd64", version="1")
        tree.add_item(f"p:{name}", "20250101", "disk.img", path=f"{number}/disk.img", size=10)
    tree.publish()
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        for number, name in enumerate(hostile):
            agent = name.encode().decode("latin-1") if number < 4 else "none"
            await proxy.read(f"{MOUNT}{number}/disk.img", **{"User-Agent": agent})
        storage = proxy.cache.storage
        names = [name[:200] for name in hostile[:3]]
        for name in names:
            await storage.threads.ledger(storage.pins.pin_all, name, [Digest(tree.items[0].digest)])
        for page in ("releases", "files", "clients", "pins", "pins?name=" + "x" * 200):
            async with open_page(browser, f"{proxy.base}/-/{page}", width) as watched:
                await expect(watched.page.locator("tbody tr").first).to_be_visible()
                assert await watched.overflow() == 0, page
                assert "\u202e" not in await watched.page.content()
                assert watched.problems == []
                if page == "pins":
                    await watched.page.get_by_role("button", name="Unpin x").click()
                    assert await watched.overflow() == 0
                    await expect(watched.page.locator("#sure")).to_be_visible()


async def test_an_admin_with_a_token_sees_who_asked_also_where_nothing_is_renewed(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirror: Mirror
) -> None:
    admin = AdminOptions(trust_loopback=False, token_sha256=hashlib.sha256(b"sesame").hexdigest())
    async with run_proxy(make_config(tmp_path / "data", mirror, admin=admin)) as proxy:
        await proxy.read(tree.items[0].path)
        async with open_page(browser, f"{proxy.base}/-/files?state=here") as watched:
            page = watched.page
            await expect(page.locator("#files tbody")).to_contain_text("asked 1 time by 1 client")
            await page.get_by_label("Admin's token").fill("sesame")
            await page.get_by_role("button", name="Use").click()
            await expect(page.locator("#files tbody")).to_contain_text("asked 1 time by 127.0.0.1")
            await page.reload()
            await expect(page.locator("#files tbody")).to_contain_text("asked 1 time by 127.0.0.1")
            assert watched.problems == []

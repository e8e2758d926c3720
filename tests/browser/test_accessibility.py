"""All pages for people who see little, use the keyboard alone, or have a small screen.

$AXE names axe.min.js of axe-core 4, which is not installed with the other tools: without it what
axe looks at is not tested.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect
from support.browser import NARROW, WIDE, Watched, open_page
from support.origin import Origin
from support.running import MOUNT, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.mirror import Mirror
from proxy.web.admin.dashboard import PAGE_NAMES

pytestmark = pytest.mark.asyncio(loop_scope="session")

PAGES = ["/", *(f"/-/{name}" for name in PAGE_NAMES), "/-/pins?name=by+hand"]
RUN_AXE = """async () => {
  const found = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]});
  const told = one => `${one.id}: ${one.help}: ${one.nodes.map(node => node.html).slice(0, 3).join(" ")}`;
  return found.violations.map(told);
}"""


@pytest.fixture
def mirrors(origin: Origin, keyring: Path) -> list[Mirror]:
    """Return a mirror that works, and one whose origin is not there."""
    return [
        Mirror(name="maas", mount=MOUNT, origins=(origin.url,), keyring=str(keyring)),
        Mirror(name="gone", mount="/gone/", origins=("http://127.0.0.1:1/",), keyring=str(keyring)),
    ]


async def live(proxy: RunningProxy, tree: SignedTree) -> None:
    """Have something to show on every page."""
    for item in tree.items[:3]:
        await proxy.read(item.path)
    await proxy.read("/gone/streams/v1/index.sjson")
    storage, digest = proxy.cache.storage, Digest(tree.items[0].digest)
    await storage.threads.ledger(storage.pins.pin_all, "by hand", [digest])


async def what_axe_says(watched: Watched, axe: str) -> list[str]:
    await watched.page.evaluate(axe)
    found: list[str] = await watched.page.evaluate(RUN_AXE)
    return found


@pytest.mark.parametrize(("width", "theme"), [(WIDE, "light"), (NARROW, "dark")])
async def test_axe_finds_nothing(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirrors: list[Mirror], width: int, theme: Any
) -> None:
    place = os.environ.get("AXE")
    if place is None:
        pytest.skip("set $AXE to the path of axe.min.js of axe-core")
    axe = await asyncio.to_thread(Path(place).read_text, encoding="utf-8")
    found = {}
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy:
        await live(proxy, tree)
        for page in PAGES:
            async with open_page(browser, proxy.base + page, width, theme) as watched:
                found[page] = await what_axe_says(watched, axe)
    assert found == {page: [] for page in PAGES}


async def test_every_page_has_landmarks_a_title_and_is_reached_by_keyboard(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirrors: list[Mirror]
) -> None:
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy:
        await live(proxy, tree)
        titles = set()
        async with open_page(browser, f"{proxy.base}/-/", NARROW) as watched:
            page = watched.page
            for name in PAGE_NAMES:
                await page.goto(f"{proxy.base}/-/{name}")
                titles.add(await page.title())
                assert await page.locator("h1").count() == 1
                assert await page.locator("main").count() == 1
                assert await page.locator('nav a[aria-current="page"]').count() == 1
                unnamed = "all => all.filter(e => !e.textContent.trim() && !e.ariaLabel).length"
                assert await page.locator("button, a").evaluate_all(unnamed) == 0
                unlabelled = "all => all.filter(e => !e.labels.length).length"
                assert await page.locator("input, select").evaluate_all(unlabelled) == 0
                await page.keyboard.press("Tab")
                assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
                await page.keyboard.press("Enter")
                assert await page.evaluate("document.activeElement.id") == "main"
                assert await watched.overflow() == 0
            assert watched.problems == []
        assert len(titles) == len(PAGE_NAMES)


@pytest.mark.parametrize("page_path", ["/", "/-/connect", "/-/"])
async def test_an_address_is_copied_by_keyboard_and_that_is_said(
    browser: Browser, tmp_path: Path, mirrors: list[Mirror], page_path: str
) -> None:
    async with run_proxy(make_config(tmp_path / "data", *mirrors)) as proxy:  # noqa: SIM117
        async with open_page(browser, proxy.base + page_path) as watched:
            button = watched.page.get_by_role("button", name="Copy the address of maas")
            await button.press("Enter")
            await expect(watched.page.locator("#copied")).to_have_text("Copied.")
            beside = watched.page.locator(".copied").filter(has=button).locator("code")
            assert await beside.text_content() == f"{proxy.base}{MOUNT}"
            field = "document.body.append(Object.assign(document.createElement('textarea'), {id: 'there'}))"
            await watched.page.evaluate(field)
            await watched.page.locator("#there").press("Control+v")
            assert await watched.page.locator("#there").input_value() == f"{proxy.base}{MOUNT}"
            assert watched.problems == []

"""The dashboard in a real browser, on a wide and a narrow screen, light and dark."""

import asyncio
import contextlib
import hashlib
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect
from support.browser import NARROW, WIDE, Watched, open_page
from support.faults import Fault
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, Service, make_config, run_proxy
from support.serving import run_service, write_config
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.jobs.rules import Rule
from proxy.mirror import Mirror
from proxy.readable import size
from proxy.sources.options import UpstreamOptions
from proxy.web.admin.permission import AdminOptions

pytestmark = pytest.mark.asyncio(loop_scope="session")

INDEX = "streams/v1/index.sjson"
HALF_HOUR = 1800.0
LAB = Rule(name="lab", mirror="maas", filters=("release=noble", "arch=amd64"))
TOKEN = "open sesame"
GUARDED = AdminOptions(trust_loopback=False, token_sha256=hashlib.sha256(TOKEN.encode()).hexdigest())
LONGEST_PAGE = 2300
"""Pixels of the overview on a phone: less than three screens."""
SECTIONS = ["problems", "figures", "mirrors", "rules", "origins", "scrub", "actions"]


@pytest.fixture
def mirror(origin: Origin, keyring: Path) -> Mirror:
    return Mirror(name="maas", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))


@pytest_asyncio.fixture(loop_scope="session")
async def mirrors(tmp_path: Path, mirror: Mirror, keyring: Path) -> tuple[Mirror, ...]:
    """Return a mirror that works, and one whose origin is not there."""
    async with Origin(tmp_path) as gone:
        broken = Mirror(name="broken", mount="/images/broken/", origins=(gone.url,), keyring=str(keyring))
    return mirror, broken


@contextlib.asynccontextmanager
async def running(
    tmp_path: Path, *mirrors: Mirror, clock: Clock | None = None, **changes: Any
) -> AsyncIterator[RunningProxy]:
    config = make_config(
        tmp_path / "data",
        *mirrors,
        prefetch=(LAB,),
        upstream=UpstreamOptions(connect_timeout_s=2, stall_timeout_s=60, give_up_after_s=0.2),
        **changes,
    )
    async with run_proxy(config, clock) as proxy:
        yield proxy


def newest(tree: SignedTree, name: str) -> TreeItem:
    return max((item for item in tree.items if item.path.endswith(name)), key=lambda item: item.path)


async def live_a_day(proxy: RunningProxy, tree: SignedTree, origin: Origin) -> TreeItem:
    """Let a day pass with misses and hits, then break off a transfer; return the item that is cut short."""
    await proxy.read(INDEX)
    items = [item for item in tree.items if "noble/amd64" in item.path]
    for half_hour in range(48):
        proxy.clock.advance(HALF_HOUR)
        for item in items[: 1 + half_hour // 6]:
            await proxy.read(item.path)
    await proxy.read("/images/broken/" + INDEX)
    squashfs = next(item for item in tree.items if "jammy/arm64" in item.path and item.size > 100_000)
    origin.fault(squashfs.path, Fault(cut_after=squashfs.size // 2), times=1)
    origin.fault(squashfs.path, Fault(refuse=True))
    await proxy.read(squashfs.path)
    await proxy.fills_ended()
    return squashfs


def assert_sound(watched: Watched, base: str) -> None:
    """Nothing went wrong in the page, and nobody else was asked for anything."""
    assert watched.problems == []
    assert watched.hosts == {base.partition("://")[2]}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
async def test_all_of_it_is_there_and_fits_the_screen(
    browser: Browser,
    tmp_path: Path,
    tree: SignedTree,
    origin: Origin,
    mirrors: tuple[Mirror, ...],
    screenshots: Path,
    width: int,
    theme: str,
) -> None:
    clock = Clock()
    clock.advance(-48 * HALF_HOUR)
    async with running(tmp_path, *mirrors, clock=clock) as proxy:
        cut = await live_a_day(proxy, tree, origin)
        held_bytes = proxy.store.stored_bytes(Digest(cut.digest), cut.size)
        assert 0 < held_bytes < cut.size
        async with proxy.get("/-/stats") as response:
            stats = await response.json()
        async with open_page(browser, f"{proxy.base}/-/", width, theme) as watched:
            page = watched.page
            await page.wait_for_load_state("networkidle")

            assert await page.locator("#live > section").evaluate_all("all => all.map(e => e.id)") == SECTIONS
            assert await watched.overflow() == 0
            figures = await watched.figures()
            assert figures["hits-day"] == f"{stats['total']['hit_ratio']['day']:.0%}"
            assert figures["sent"] == size(sum(stats["total"]["sent_bytes"].values()))
            assert figures["blobs"] == str(stats["store"]["blobs"])
            problems = await page.locator("#problems li").all_inner_texts()
            assert len(problems) == len(stats["problems"]) >= 2
            assert problems[0].startswith("mirror broken has no verified lists")
            assert "fresh" in (await watched.cells("mirrors", "maas"))[1]
            assert "no verified lists" in (await watched.cells("mirrors", "broken"))[1]
            assert await watched.height() < LONGEST_PAGE
            await watched.shoot(screenshots / f"overview-{width}-{theme}.png")
            await watched.follow("History")
            assert await watched.undrawn() == []
            assert await page.locator("[data-plot]").count() == 3
            assert await watched.overflow() == 0
            await watched.shoot(screenshots / f"history-{width}-{theme}.png")
            await page.get_by_role("link", name="Last month").click()
            await page.wait_for_load_state("networkidle")
            assert await watched.undrawn() == []
            sent = size(sum(stats["total"]["sent_bytes"].values()))
            assert sent in " ".join(await watched.cells("savings", "Last month"))
            await watched.follow("Releases")
            jammy = page.locator("#images tr").filter(has_text="jammy").filter(has_text="arm64")
            assert "partial" in await jammy.inner_text()
            assert "0 of 12" in await jammy.inner_text()
            assert f"{size(held_bytes)} of" in await jammy.inner_text()
            await page.get_by_text("more only upstream").click()
            assert "grub-efi-signed" in await page.locator("#images details").inner_text()
            assert await watched.overflow() == 0
            await page.get_by_text("more only upstream").click()
            await watched.shoot(screenshots / f"releases-{width}-{theme}.png")
            assert_sound(watched, proxy.base)


async def test_a_proxy_that_nobody_has_asked_yet(
    browser: Browser, tmp_path: Path, mirror: Mirror, screenshots: Path
) -> None:
    async with running(tmp_path, mirror) as proxy:
        for width in (WIDE, NARROW):
            async with open_page(browser, f"{proxy.base}/-/", width) as watched:
                await watched.page.wait_for_load_state("networkidle")

                assert (await watched.figures())["hits-day"] == "-"
                assert "never asked for" in (await watched.cells("mirrors", "maas"))[1]
                assert await watched.height() < LONGEST_PAGE
                assert await watched.page.get_by_role("heading", name="MAAS", exact=True).is_visible()
                assert await watched.undrawn() == []
                assert await watched.overflow() == 0
                await watched.shoot(screenshots / f"dashboard-empty-{width}.png")
                assert_sound(watched, proxy.base)


async def test_figures_follow_without_a_reload_and_disturb_nobody(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirror: Mirror
) -> None:
    item = newest(tree, "noble/amd64/20250709/squashfs")
    async with running(tmp_path, mirror) as proxy:
        await proxy.read(INDEX)
        async with open_page(browser, f"{proxy.base}/-/", NARROW) as watched:
            page = watched.page
            await page.evaluate("document.body.dataset.mark = 'still the same page'")
            run = page.get_by_role("button", name="Run")
            await run.focus()
            await page.evaluate("getSelection().selectAllChildren(document.querySelector('#rules tbody th'))")
            await page.evaluate("scrollTo(0, 300)")
            await run.evaluate("button => { window.run = button }")
            before = await watched.figure("blobs")

            await proxy.read(item.path)
            await expect(page.locator('[data-figure="blobs"]')).not_to_have_text(before)

            assert int(await watched.figure("blobs")) == int(before) + 1
            assert await page.evaluate("document.body.dataset.mark") == "still the same page"
            assert await page.evaluate("document.activeElement === window.run && window.run.isConnected")
            assert await page.evaluate("scrollY") == 300
            assert await page.evaluate("getSelection().toString()") == "lab"
            assert_sound(watched, proxy.base)


async def test_what_arrives_is_shown_while_it_arrives(
    browser: Browser, tmp_path: Path, tree: SignedTree, origin: Origin, mirror: Mirror, screenshots: Path
) -> None:
    item = newest(tree, "noble/amd64/20250709/squashfs")
    stall = origin.fault(item.path, Fault(stall_after=item.size // 4))
    async with running(tmp_path, mirror) as proxy:
        await proxy.read(INDEX)
        async with open_page(browser, f"{proxy.base}/-/", NARROW) as watched:
            fills = watched.page.locator("#fills")
            await expect(fills).to_have_count(0)
            reading = asyncio.create_task(proxy.read(item.path))
            await expect(fills).to_contain_text(item.path)
            await expect(fills).to_contain_text(f"{size(item.size // 4)} of {size(item.size)}")
            share = await fills.locator("progress").evaluate("bar => bar.position")
            await watched.shoot(screenshots / f"dashboard-arriving-{NARROW}.png")
            stall.remove()
            got = await reading
            await expect(fills).to_have_count(0)

            assert share == pytest.approx(0.25, abs=0.01)
            assert got.body == item.read()
            assert await watched.overflow() == 0
            assert_sound(watched, proxy.base)


async def test_a_rule_is_run_at_the_press_of_a_button(
    browser: Browser, tmp_path: Path, mirror: Mirror
) -> None:
    rule = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nfilters = ["release=noble", "arch=amd64"]\n'
    async with run_service(write_config(tmp_path, mirror, settings=rule)) as service:
        base = loopback(service)
        async with telling(service), open_page(browser, f"{base}/-/") as watched:
            page = watched.page
            assert (await watched.cells("rules", "lab"))[2] == "never"
            await page.get_by_role("button", name="Run").click()
            await expect(page.locator("#answer")).to_have_text("rule lab will be run by a running server")
            await expect(page.locator("#rules tr").last).to_contain_text("complete")
            await watched.follow("Releases")
            row = page.locator("#images tr").filter(has_text="noble").filter(has_text="amd64")
            await expect(row).to_contain_text("20250709 here, but not complete for MAAS")
            await expect(row).to_contain_text("pinned")
            await expect(row).to_contain_text("kept by rule lab")

            assert_sound(watched, base)


@contextlib.asynccontextmanager
async def telling(service: Service) -> AsyncIterator[None]:
    """Have a failure shown with what the service logged."""
    try:
        yield
    finally:
        print(service.log())  # noqa: T201


def loopback(service: Service) -> str:
    """Return the address by which this machine counts as itself."""
    return service.base.rstrip("/").replace("0.0.0.0", "127.0.0.1")


async def test_a_release_is_fetched_pinned_and_let_go_in_place(
    browser: Browser, tmp_path: Path, mirror: Mirror, screenshots: Path
) -> None:
    """What the page then calls complete for MAAS is what `ready --maas` proves."""
    async with run_service(write_config(tmp_path, mirror)) as service:
        base = loopback(service)
        async with telling(service), open_page(browser, f"{base}/-/") as watched:
            page = watched.page
            await expect(page.locator("#first")).to_contain_text(mirror.mount)
            await expect(page.get_by_role("button", name="Copy the address of maas")).to_be_visible()
            await page.get_by_role("button", name="Check mirrors now").click()
            await expect(page.locator("#answer")).to_have_text("checked maas")
            await watched.follow("Releases")
            await page.get_by_text("only upstream", exact=False).first.click()
            row = page.locator("#images tr").filter(has_text="noble amd64")
            await expect(row).to_contain_text("only upstream, newest 20250709")
            await row.get_by_role("button", name="Prefetch noble amd64").click()
            await expect(page.locator("#answer")).to_contain_text("will be fetched by a running server")
            await expect(row).to_contain_text("20250709 here, complete for MAAS; the newest listed")
            ready = [sys.executable, "-m", "proxy", "ready", "--config", str(tmp_path / "config.toml")]
            proof = await asyncio.create_subprocess_exec(*ready, "--maas", "noble", "--arch", "amd64")
            assert await proof.wait() == 0
            await watched.shoot(screenshots / f"releases-fetched-{WIDE}.png")
            await row.get_by_role("button", name="Unpin noble amd64").click()
            await expect(page.get_by_role("dialog")).to_contain_text("Let go of noble amd64?")
            await page.locator("#sure .hurts").click()
            await expect(row).not_to_contain_text("pinned")
            await expect(row.get_by_role("button", name="Keep noble amd64")).to_be_visible()

            assert_sound(watched, base)


async def test_going_offline_and_online(
    browser: Browser, tmp_path: Path, tree: SignedTree, origin: Origin, mirror: Mirror
) -> None:
    item = newest(tree, "noble/amd64/20250709/squashfs")
    async with running(tmp_path, mirror) as proxy:
        await proxy.read(INDEX)
        async with open_page(browser, f"{proxy.base}/-/") as watched:
            page = watched.page
            toggle = page.locator('[data-action="offline"]')
            await expect(toggle).to_have_text("Go offline")
            await toggle.press("Enter")
            await expect(page.get_by_role("dialog")).to_contain_text("no origin is asked")
            await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
            await page.keyboard.press("Escape")
            assert not proxy.cache.offline.is_on
            await toggle.press("Enter")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await expect(toggle).to_have_text("Go online")
            await expect(page.locator("#head .state")).to_have_text("offline")
            assert (await proxy.read(item.path)).status == 504
            assert origin.count(item.path) == 0
            await expect(toggle).to_be_focused()
            await toggle.press("Enter")
            await expect(toggle).to_have_text("Go offline")
            await expect(page.locator("#head .state")).to_have_count(0)

            assert (await proxy.read(item.path)).status == 200
            assert_sound(watched, proxy.base)


async def test_a_press_during_an_update_counts_once(browser: Browser, tmp_path: Path, mirror: Mirror) -> None:
    async with running(tmp_path, mirror) as proxy:
        await proxy.read(INDEX)
        async with open_page(browser, f"{proxy.base}/-/") as watched:
            page = watched.page
            asked: list[str] = []
            page.on("request", lambda request: asked.append(request.method))
            await page.get_by_role("button", name="Run").hover()
            await page.mouse.down()
            for _ in range(2):
                await page.wait_for_event("response", lambda reply: reply.url.endswith("/-/live"))
            await page.mouse.up()
            await expect(page.locator("#answer")).to_have_text("rule lab will be run by a running server")

            assert asked.count("POST") == 1


async def test_what_somebody_folds_stays_so_while_the_page_is_brought_up_to_date(
    browser: Browser, tmp_path: Path, mirror: Mirror
) -> None:
    async with running(tmp_path, mirror) as proxy:
        await proxy.read(INDEX)
        async with open_page(browser, f"{proxy.base}/-/releases?search=noble") as watched:
            folded = watched.page.locator("#images details")
            await expect(folded).to_have_attribute("open", "")
            await folded.locator("summary").click()
            for _ in range(2):
                await watched.page.wait_for_event("response", lambda reply: "/-/live/" in reply.url)
            await watched.page.wait_for_load_state("networkidle")

            await expect(folded).not_to_have_attribute("open", "")


async def test_only_an_admin_changes_anything(
    browser: Browser, tmp_path: Path, mirror: Mirror, screenshots: Path
) -> None:
    async with running(tmp_path, mirror, admin=GUARDED) as proxy:  # noqa: SIM117
        async with open_page(browser, f"{proxy.base}/-/", NARROW) as watched:
            page = watched.page
            answer = page.locator("#answer")
            for token, means in (("", "bad"), ("guessed", "bad"), (TOKEN, "good")):
                await page.get_by_label("Admin's token").fill(token)
                await watched.confirm("Go offline")
                await expect(answer).to_have_class(means)
                if means == "bad":
                    await expect(answer).to_contain_text("this needs an admin")
                    await expect(page.get_by_label("Admin's token")).to_be_focused()
                    assert not proxy.cache.offline.is_on
                    await watched.shoot(screenshots / f"dashboard-refused-{NARROW}.png")
            await expect(answer).to_have_text("no origin is asked any more")

            assert proxy.cache.offline.is_on
            assert all("403" in problem for problem in watched.problems)
            assert await watched.overflow() == 0


async def test_a_token_is_kept_until_the_tab_is_closed(
    browser: Browser, tmp_path: Path, mirror: Mirror
) -> None:
    async with running(tmp_path, mirror, admin=GUARDED) as proxy:
        async with open_page(browser, f"{proxy.base}/-/") as watched:
            page = watched.page
            await page.get_by_label("Admin's token").fill(TOKEN)
            await page.get_by_role("button", name="Use").click()
            await page.reload()
            await watched.confirm("Go offline")
            await expect(page.locator("#answer")).to_have_text("no origin is asked any more")
            await watched.follow("History")
            for image in await page.locator("[data-plot]").all():
                await expect(image).to_have_attribute("src", re.compile("^blob:"))

            assert await watched.undrawn() == []
            assert_sound(watched, proxy.base)
        async with open_page(browser, f"{proxy.base}/-/") as watched:
            await expect(watched.page.get_by_label("Admin's token")).to_have_value("")


async def test_figures_for_admins_only_are_shown_once_the_token_is_given(
    browser: Browser, tmp_path: Path, mirror: Mirror, screenshots: Path
) -> None:
    async with running(tmp_path, mirror, admin=replace(GUARDED, read="admins")) as proxy:  # noqa: SIM117
        async with open_page(browser, f"{proxy.base}/-/", NARROW) as watched:
            page = watched.page
            await expect(page.locator("#locked")).to_be_visible()
            assert await page.locator("[data-figure], tbody, img").count() == 0
            await watched.shoot(screenshots / f"dashboard-locked-{NARROW}.png")
            await page.get_by_label("Admin's token").fill("guessed")
            await page.get_by_role("button", name="Use").click()
            await expect(page.locator("#lost")).to_contain_text("reading this needs an admin")
            await page.get_by_label("Admin's token").fill(TOKEN)
            await page.get_by_label("Admin's token").press("Enter")
            await expect(page.locator('[data-figure="blobs"]')).to_have_text("0")
            await expect(page.locator("#locked")).to_have_count(0)

            await page.reload()
            await expect(page.locator('[data-figure="blobs"]')).to_have_text("0")
            assert await watched.overflow() == 0
            assert all("403" in problem for problem in watched.problems)


async def test_it_says_when_the_proxy_is_gone(browser: Browser, tmp_path: Path, mirror: Mirror) -> None:
    async with running(tmp_path, mirror) as proxy, open_page(browser, f"{proxy.base}/-/") as watched:
        lost = watched.page.locator("#lost")
        await expect(lost).to_be_hidden()
        await watched.page.context.set_offline(True)
        await expect(lost).to_contain_text("no answer")
        await watched.page.context.set_offline(False)
        await expect(lost).to_be_hidden()


async def test_it_can_be_read_without_javascript(
    browser: Browser, tmp_path: Path, tree: SignedTree, mirror: Mirror, screenshots: Path
) -> None:
    item = newest(tree, "noble/amd64/20250709/squashfs")
    async with running(tmp_path, mirror) as proxy:
        for path in (INDEX, item.path, item.path, item.path):
            await proxy.read(path)
        await proxy.fills_ended()
        async with proxy.get("/-/stats") as response:
            stats = await response.json()
        async with open_page(browser, f"{proxy.base}/-/", NARROW, javascript=False) as watched:
            page = watched.page

            assert await watched.figure("blobs") == str(stats["store"]["blobs"])
            assert await watched.figure("hits-day") == "75%"
            assert "fresh" in (await watched.cells("mirrors", "maas"))[1]
            assert await page.get_by_role("button").count() == 0
            assert "Without JavaScript" in await page.locator("section.token").inner_text()
            headings = page.locator("#mirrors td[data-label]").first
            shown = await headings.evaluate("cell => getComputedStyle(cell, '::before').content")
            assert shown == '"State"'
            await watched.shoot(screenshots / f"dashboard-without-javascript-{NARROW}.png")
            assert_sound(watched, proxy.base)

"""A real browser, headless, that reaches nothing but this machine and tells what goes wrong in a page."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, async_playwright, expect

WIDE, NARROW = 1280, 390
_PATIENCE_MS = 20_000
_NAMES = ("chromium", "google-chrome", "google-chrome-stable")
_ONLY_LOOPBACK = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"


def find_chromium() -> str | None:
    """Return the program to start: $CHROMIUM, or what is installed."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


@contextlib.asynccontextmanager
async def run_browser() -> AsyncIterator[Browser]:
    """Run a browser for the length of the context."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=find_chromium(), args=[_ONLY_LOOPBACK])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Watched:
    """A page, with what it asked for and what went wrong in it."""

    page: Page
    hosts: set[str] = field(default_factory=set)
    """Host and port of everything that was requested over the network."""
    problems: list[str] = field(default_factory=list)
    """Errors in the console, among them what the content security policy forbade, and in scripts."""

    async def figure(self, name: str) -> str:
        """Return the figure that a tile shows."""
        return await self.page.locator(f'[data-figure="{name}"]').inner_text()

    async def figures(self) -> dict[str, str]:
        """Return the figures of all tiles."""
        found: dict[str, str] = await self.page.eval_on_selector_all(
            "[data-figure]", "all => Object.fromEntries(all.map(e => [e.dataset.figure, e.textContent]))"
        )
        return found

    async def cells(self, section: str, row: str) -> list[str]:
        """Return the texts of a table's row, by the section's id and the row's heading."""
        rows = self.page.locator(f"#{section} tbody tr")
        found = rows.filter(has=self.page.locator("th", has_text=row)).first
        return [" ".join(text.split()) for text in await found.locator("th, td").all_inner_texts()]

    async def follow(self, title: str) -> None:
        """Go to another page by the menu, and wait until nothing is being asked for."""
        await self.page.get_by_role("navigation").get_by_role("link", name=title, exact=True).click()
        await self.page.wait_for_load_state("networkidle")

    async def confirm(self, button: str) -> None:
        """Press a button that asks whether somebody is sure, and say yes."""
        await self.page.get_by_role("button", name=button, exact=True).first.click()
        await self.page.locator("#sure .hurts").click()

    async def overflow(self) -> int:
        """Return by how many pixels the page is wider than the window."""
        script = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        found: int = await self.page.evaluate(script)
        return found

    async def height(self) -> int:
        """Return how many pixels the page is high."""
        found: int = await self.page.evaluate("document.documentElement.scrollHeight")
        return found

    async def undrawn(self) -> list[str]:
        """Return the pictures that are not there, once all have been loaded or have failed."""
        # No wait_for_function: it needs eval, which the page's policy forbids.
        await self.page.evaluate("Promise.allSettled([...document.images].map(image => image.decode()))")
        found: list[str] = await self.page.evaluate(
            "[...document.images].filter(image => !image.naturalWidth).map(image => image.currentSrc)"
        )
        return found

    async def shoot(self, path: Path) -> None:
        """Keep a picture of the whole page."""
        path.parent.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=path, full_page=True)


@contextlib.asynccontextmanager
async def open_page(
    browser: Browser, url: str, width: int = WIDE, theme: Any = "light", *, javascript: bool = True
) -> AsyncIterator[Watched]:
    """Open a page in a fresh profile."""
    context = await browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=theme, java_script_enabled=javascript
    )
    context.set_default_timeout(_PATIENCE_MS)
    expect.set_options(timeout=_PATIENCE_MS)
    watched = Watched(await context.new_page())
    page = watched.page
    page.on("request", lambda request: watched.hosts.update(_host(request.url)))
    page.on("pageerror", lambda error: watched.problems.append(str(error)))
    page.on(
        "console",
        lambda said: watched.problems.append(said.text) if said.type in {"error", "warning"} else None,
    )
    try:
        reply = await page.goto(url)
        assert reply is not None
        assert reply.ok, await reply.text()
        yield watched
    finally:
        await context.close()


def _host(url: str) -> set[str]:
    scheme, _, rest = url.partition("://")
    return {rest.partition("/")[0]} if scheme in {"http", "https", "ws", "wss"} else set()

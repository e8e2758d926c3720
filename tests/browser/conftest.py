"""A browser for each test, and a proxy that has something to show."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser
from support.browser import find_chromium, run_browser
from support.keys import SigningKey
from support.maas import maas_tree
from support.tree import SignedTree


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    """Return a running browser."""
    if find_chromium() is None:
        pytest.skip("no browser is installed: apt-get install chromium, or set $CHROMIUM to its path")
    async with run_browser() as browser:
        yield browser


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture(scope="session")
def screenshots(pytestconfig: pytest.Config) -> Path:
    """Return the folder where pictures of the pages are kept."""
    return pytestconfig.rootpath / "build" / "screenshots"

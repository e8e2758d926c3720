"""One browser for all tests, in an event loop that is theirs together, and a tree that has something to show.

To start one takes more than most of them do with it: what one leaves is kept from the next by `open_page`,
which opens a fresh profile.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser
from support.browser import find_chromium, run_browser
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree


@pytest_asyncio.fixture(scope="session", loop_scope="session")
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


@pytest_asyncio.fixture(loop_scope="session")
async def origin(tree: SignedTree) -> AsyncIterator[Origin]:
    """Return a running origin that serves `tree`, in the loop of the browser."""
    async with Origin(tree.root) as origin:
        yield origin


@pytest.fixture(scope="session")
def screenshots(pytestconfig: pytest.Config) -> Path:
    """Return the folder where pictures of the pages are kept."""
    return pytestconfig.rootpath / "build" / "screenshots"

"""One image of a MiB, and a proxy with as many origins of it as wanted."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.origin import Origin
from support.running import Clock, make_config, run_proxy
from support.several_origins import OPTIONS, Several, Start, add_items
from support.tree import SignedTree, TreeItem

from proxy.mirror import Mirror


@pytest.fixture
def item(tree: SignedTree) -> TreeItem:
    """Return a published item of one MiB."""
    return add_items(tree, 1)[0]


@pytest.fixture
def several(tmp_path: Path, tree: SignedTree, mirror: Mirror, clock: Clock) -> Start:
    """Return how to start a proxy with so many origins, used in that order."""

    @asynccontextmanager
    async def start(count: int, **changes: Any) -> AsyncIterator[Several]:
        async with AsyncExitStack() as stack:
            origins = [await stack.enter_async_context(Origin(tree.root)) for _ in range(count)]
            urls = tuple(origin.url for origin in origins)
            config = make_config(
                tmp_path / "data", replace(mirror, origins=urls), **({"upstream": OPTIONS} | changes)
            )
            proxy = await stack.enter_async_context(run_proxy(config, clock))
            yield Several(proxy, origins)

    return start

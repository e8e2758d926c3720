"""One or two slow origins of a large item."""

from collections.abc import AsyncIterator
from pathlib import Path
from time import monotonic

import pytest
from support.segmented import Several, serving


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Several]:
    async with serving(tmp_path, monotonic, 2) as two:
        yield two


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[Several]:
    async with serving(tmp_path, monotonic, 1) as one:
        yield one

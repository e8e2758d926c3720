"""Whoever is asked for the state of the proxy only reads it."""

import asyncio
from pathlib import Path

import pytest
from support.running import RunningProxy
from support.tree import SignedTree

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
COUNTED = "stats"
"""Where requests are counted."""


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Return what is in a data directory but for counters, and when each was written last."""
    found = (path for path in folder.rglob("*") if path.relative_to(folder).parts[0] != COUNTED)
    return {
        str(path): (status.st_mtime_ns, status.st_size)
        for path, status in ((path, path.stat()) for path in found)
        if not path.name.endswith("-shm")  # Locks of those who read.
    }


@pytest.mark.parametrize("page", ["/-/stats", "/-/metrics", "/-/", "/-/live", "/-/ready"])
async def test_asking_writes_nothing(proxy: RunningProxy, tree: SignedTree, page: str) -> None:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=1000)
    tree.publish()
    assert (await proxy.read(item.path)).body == item.read()
    await proxy.fills_ended()
    await proxy.cache.delivery._usage.flush()
    assert (await proxy.read(page)).status == 200  # What follows from lists is made once.
    before = await asyncio.to_thread(files, proxy.config.data_dir)

    assert (await proxy.read(page)).status == 200

    after = await asyncio.to_thread(files, proxy.config.data_dir)
    assert {path: state for path, state in after.items() if before.get(path) != state} == {}
    assert before.keys() == after.keys()

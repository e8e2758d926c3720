"""The packed form of a list is lost while it is in use: no process ends, and it is made anew."""

import os
from pathlib import Path

import aiohttp
import pytest
from support.generations import INDEX, PRODUCT, bodies
from support.running import RunningProxy
from support.tree import SignedTree

from proxy.store import listings


@pytest.mark.parametrize("left_bytes", [0, 100])
async def test_a_packed_list_that_is_cut_under_the_server_is_made_anew(
    proxy: RunningProxy, tree: SignedTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_bytes: int
) -> None:
    monkeypatch.setattr(listings, "_READ_AT_ONCE_BYTES", 0)
    items = [tree.add_item(f"{PRODUCT}{n}", "1", "squashfs") for n in range(5)]
    tree.publish()
    await bodies(proxy, INDEX, items[0].path)
    packed = [file for file in (tmp_path / "data/listings").iterdir() if len(file.name) == 64]
    assert len(packed) == 1
    packed[0].chmod(0o600)  # Nobody may write to it.
    os.truncate(packed[0], left_bytes)

    for item in items:
        try:
            reply = await proxy.read(item.path)
        except aiohttp.ClientError:
            continue
        assert reply.body == item.read()

    assert await bodies(proxy, *(item.path for item in items)) == [item.read() for item in items]

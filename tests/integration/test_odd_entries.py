"""Entries of an index that cannot be used, or say too little: told, and the rest is served."""

from typing import Any

import pytest
from support.generations import INDEX, LIST, PRODUCT, bodies, on_disk, stats
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree


async def problems(proxy: RunningProxy) -> str:
    async with proxy.get("/-/stats") as response:
        return " ".join(problem["text"] for problem in (await response.json())["problems"])


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("no object", "is not an object"),
        (None, "is not an object"),
        ({"path": 7, "format": "products:1.0", "datatype": "image-ids"}, "a path that is no text"),
        ({"path": "", "format": "products:1.0", "datatype": "image-ids"}, "names no file"),
        ({"path": "../c.sjson", "format": "products:1.0", "datatype": "image-ids"}, "'..' segment"),
        ({"path": "a\nb", "format": "products:1.0", "datatype": "image-ids"}, "control character"),
        ({"path": "streams/v1/c.sjson", "datatype": "image-ids"}, "does not say its format"),
        ({"path": "streams/v1/c.sjson", "format": None, "datatype": "image-ids"}, "does not say its format"),
        ({"path": "streams/v1/c.sjson", "format": "products:1.0"}, "does not say its datatype"),
    ],
)
async def test_an_odd_entry_of_an_index_is_told_and_the_rest_is_served(
    proxy: RunningProxy, tree: SignedTree, entry: Any, said: str
) -> None:
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.index_entries["odd"] = entry
    tree.publish()
    tree.write("streams/v1/c.sjson", (tree.root / LIST).read_bytes())

    assert await bodies(proxy, INDEX, LIST, item.path) == on_disk(tree, INDEX, LIST, item.path)

    for _ in range(2):
        found = await stats(proxy)
        assert (found["failures"], len(found["oddities"])) == (0, 1)
        assert f"{INDEX}: entry 'odd'" in found["oddities"][0]
        assert said in found["oddities"][0]
        assert found["oddities"][0] in await problems(proxy)
        await proxy.documents.checks.revalidate()

    del tree.index_entries["odd"]
    tree.publish()
    await proxy.documents.checks.revalidate()
    assert (await stats(proxy))["oddities"] == []


async def test_a_plain_index_that_names_other_lists_is_refused(proxy: RunningProxy, tree: SignedTree) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    plain = INDEX.replace(".sjson", ".json")
    text = (tree.root / plain).read_text().replace("download.json", "download")
    tree.write(plain, text.encode())

    reply = await proxy.read(plain)

    assert reply.status == 502
    assert b"it does not say what the signed" in reply.body


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}])
async def test_a_head_of_what_is_not_held_is_no_hit(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, headers: dict[str, str]
) -> None:
    """Also when it is asked for again and again, as a ready reply would be."""
    item = tree.add_item(PRODUCT, "20250701", "squashfs")
    tree.publish()
    await proxy.documents.checks.revalidate()

    for _ in range(5):
        assert (await proxy.read(item.path, "HEAD", **headers)).status == 200
    async with proxy.get("/-/stats") as response:
        requests = (await response.json())["mirrors"]["test"]["requests"]
    assert (requests["hit"], requests["stale"], requests["miss"]) == (0, 0, 5)
    assert origin.count(item.path) == 0

    await proxy.read(item.path)
    await proxy.fills_ended()
    for _ in range(5):
        assert (await proxy.read(item.path, "HEAD", **headers)).status == 200
    async with proxy.get("/-/stats") as response:
        requests = (await response.json())["mirrors"]["test"]["requests"]
    assert (requests["hit"] > 0, requests["miss"]) == (True, 6)

"""Power fails while a proxy works: whatever clients have seen is true when it comes back without origin."""

import asyncio
import hashlib
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from random import Random

from support.generations import INDEX, LIST, PRODUCT, bodies, on_disk
from support.origin import Origin
from support.power import Image, PowerCuts
from support.running import Clock, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

FEW = 12
"""So many cuts are chosen of some dozens: a proxy starts after each."""


async def test_what_clients_have_seen_is_served_after_a_power_cut_at_any_moment(
    tmp_path: Path, mirror: Mirror, clock: Clock, origin: Origin, tree: SignedTree
) -> None:
    """The index that somebody got, or a later one, with its list; and the items that were filled."""
    config = make_config(tmp_path / "data", mirror)
    config.data_dir.mkdir()
    seen: list[tuple[list[bytes], list[str]]] = [([], [])]
    kept: list[str] = []
    with PowerCuts() as power:
        power.watch(config.data_dir)
        async with run_proxy(config, clock) as proxy:
            for version in ("20250701", "20250702"):
                item = tree.add_item(PRODUCT, version, "squashfs")
                tree.publish()
                await proxy.documents.checks.revalidate()
                documents = await bodies(proxy, INDEX, LIST)
                assert documents == on_disk(tree, INDEX, LIST)
                seen.append((documents, list(kept)))
                power.promise(_nothing)
                await bodies(proxy, item.path)
                await proxy.fills_ended()
                kept.append(item.path)
                seen.append((documents, list(kept)))
                power.promise(_nothing)
    await origin.stop()

    await asyncio.to_thread(power.check_all, tmp_path / "cuts", _blobs_are_whole)
    for image in _few(power.images):
        rebooted = replace(
            config, data_dir=image.restore(tmp_path / "rebooted" / str(id(image))), offline=True
        )
        async with run_proxy(rebooted, clock) as proxy:
            documents, paths = seen[image.promises]
            if documents:
                later = [one for one, _ in seen[image.promises :]]
                assert await bodies(proxy, INDEX, LIST) in later, image.moment
                assert await bodies(proxy, *paths) == on_disk(tree, *paths), image.moment


def _few(images: list[Image]) -> list[Image]:
    """Choose the last cut before each promise, which had the most to keep, and some others."""
    last = [one for one, following in pairwise(images) if one.promises < following.promises]
    return [*last, images[-1], *Random(1).sample(images, FEW - len(last))]


def _nothing(_: Path) -> None:
    """Promise what only a proxy that runs can show."""


def _blobs_are_whole(root: Path) -> None:
    for path in root.glob("blobs/sha256/*/*"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name, path

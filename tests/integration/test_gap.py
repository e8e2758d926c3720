"""From site A to site B by hand: whatever comes in whichever order, B says truly what it has, and serves it.

`bench/gap.py` carries 12 generations, with the reference client at both ends.
"""

import shutil
from pathlib import Path
from random import Random

from support.gap import Bundle, SiteA, SiteB, blobs_in, in_odd_order, mirrored, served_wrongly
from support.origin import Origin
from support.serving import run_service
from support.tree import SignedTree

GENERATIONS = 3
ITEM_BYTES = 2_500_000
IN_PARTS = ["--part-size", "5.3 MB"]


async def test_bundles_in_parts_and_in_odd_order_make_the_far_side_equal(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    site_a = SiteA(tmp_path / "a", tree, origin, keyring, item_bytes=ITEM_BYTES)
    site_b = SiteB.of(tmp_path / "b", keyring)
    bundles: list[Bundle] = []
    for number in range(GENERATIONS):
        since = ["--since", str(bundles[-1].parts[0])] if bundles else []
        suffix, parts = ("", []) if number % 2 else (".tar", IN_PARTS)
        bundle = await site_a.export(await site_a.publish(), *parts, *since, suffix=suffix)
        if number == 2:
            bundle = await made_again(site_a, bundle, *parts, *since)
        bundles.append(bundle)

    async with run_service(site_b.commands.config) as server:
        for bundle, part in in_odd_order(bundles, Random(2026)):
            expected = site_b.expect(bundle.generation, blobs_in(part))
            done = await site_b.take(part)
            assert done.returncode == expected, f"{part.name}: {done.stdout}{done.stderr}"
            assert await site_b.told_truth() == []
            assert await served_wrongly(server, site_b) == []
        assert site_b.served == bundles[-1].generation
        if shutil.which("gpgv"):
            found = await mirrored(f"{server.base}/m/", tmp_path / "mirror", keyring)
            assert found == bundles[-1].generation.files

    new_bytes = sum(bundle.generation.new_bytes for bundle in bundles)
    assert new_bytes < sum(bundle.carried_bytes for bundle in bundles) <= 1.02 * new_bytes


async def made_again(site_a: SiteA, bundle: Bundle, *arguments: str) -> Bundle:
    """Lose a part, and make it again."""
    lost = bundle.parts[-1]
    shutil.move(lost, lost.with_name(f"lost-{lost.name}"))
    again = await site_a.export(
        bundle.generation, *arguments, "--only-part", str(len(bundle.parts)), suffix=lost.suffix
    )
    assert again.parts == bundle.parts
    assert blobs_in(lost) == blobs_in(lost.with_name(f"lost-{lost.name}"))
    return again

"""Whatever ends an export or import in the middle: it goes on, nothing is wrong and nothing is lost.

`bench/gap_faults.py`, with --tree for trees, goes on for 100 rounds of each.
"""

from pathlib import Path
from random import Random

import pytest
from support.failing_disk import FailingDisk
from support.gap import SiteA, SiteB
from support.gap_faults import GapFaults
from support.origin import Origin
from support.serving import run_service
from support.tree import SignedTree

ITEM_BYTES = 300_000


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
async def test_exports_and_imports_that_are_disturbed_go_on(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    site_a = SiteA(tmp_path / "a", tree, origin, keyring, item_bytes=ITEM_BYTES)
    site_b = SiteB.of(tmp_path / "b", keyring)
    faults = GapFaults(tmp_path, site_a, Random(2026))
    async with run_service(site_b.commands.config) as server:
        for number in range(2):
            generation = await site_a.publish()
            bundle = await site_a.export(generation, suffix=".tar" if number else "")
            await faults.export_round(generation.items, ITEM_BYTES * 2)
            await faults.import_round(site_b, server, bundle)

    assert faults.report.faults == []
    assert faults.report.rounds.total() == 4


@pytest.mark.skipif(not FailingDisk.can_be_built(), reason="needs gcc")
async def test_exports_and_imports_of_trees_that_are_disturbed_go_on(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    site_a = SiteA(tmp_path / "a", tree, origin, keyring, item_bytes=ITEM_BYTES)
    site_b = SiteB.of(tmp_path / "b", keyring)
    faults = GapFaults(tmp_path, site_a, Random(4))
    async with run_service(site_b.commands.config) as server:
        for _ in range(2):
            generation = await site_a.publish()
            await faults.export_tree_round(generation, tree.root)
            await faults.import_tree_round(site_b, server, generation)

    assert faults.report.faults == []
    assert faults.report.rounds.total() == 4

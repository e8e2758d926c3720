"""Kill exports and imports, or fill their disks, at 100 random moments of each, and run the same again.

After each fault the bundles, or with --tree the static tree, both caches and all that the far side's
server sends are read; prints what happened to which command and what was found, and exits with 1 when
anything was found.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import stage  # noqa: F401 - makes `support` importable
from support.gap import SiteA, SiteB
from support.gap_faults import GapFaults, Report
from support.keys import SigningKey
from support.origin import Origin
from support.running import Service
from support.serving import run_service
from support.tree import SignedTree

_ITEM_BYTES = 1_000_000
_GENERATIONS = 8
"""That a far side imports before it begins anew."""


def told(report: Report, seconds: float) -> str:
    """Return what the rounds have come to, in words."""
    return "\n".join(
        [
            f"{report.rounds.total()} rounds in {seconds:.0f} s",
            *(f"  {what:47} {count}" for what, count in sorted(report.rounds.items())),
            f"  blobs hashed after                              {report.blobs}",
            f"  faults found                                    {len(report.faults)}",
            *(f"    {fault}" for fault in report.faults),
        ]
    )


@asynccontextmanager
async def _far_side(folder: Path, keyring: Path) -> AsyncIterator[tuple[SiteB, Service]]:
    site = SiteB.of(folder, keyring)
    try:
        async with run_service(site.commands.config) as server:
            yield site, server
    finally:
        shutil.rmtree(folder)


async def main() -> int:
    """Run the rounds; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100, help="of each command")
    parser.add_argument("--seed", type=int, default=1, help="of what happens and when")
    parser.add_argument("--tree", action="store_true", help="a static tree in place of bundles")
    options = parser.parse_args()
    random, began = Random(options.seed), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sstream-gap-") as name, SigningKey() as key:
        folder, keyring = Path(name), Path(name) / "keyring.gpg"
        keyring.write_bytes(key.public_binary())
        tree = SignedTree(folder / "upstream", key)
        async with Origin(tree.root) as origin:
            site_a = SiteA(folder / "a", tree, origin, keyring, item_bytes=_ITEM_BYTES)
            faults = GapFaults(folder, site_a, random)
            done = 0
            while done < options.rounds:
                faults.take_tree_away()
                async with _far_side(folder / f"b{done}", keyring) as (site_b, server):
                    for _ in range(min(_GENERATIONS, options.rounds - done)):
                        generation = await site_a.publish()
                        if options.tree:
                            await faults.export_tree_round(generation, tree.root)
                            await faults.import_tree_round(site_b, server, generation)
                        else:
                            suffix, *parts = random.choice([["", "--part-size", "2 MB"], [".tar"], [""]])
                            bundle = await site_a.export(generation, *parts, suffix=suffix)
                            await faults.export_round(generation.items, _ITEM_BYTES * 2)
                            await faults.import_round(site_b, server, bundle)
                        done += 1
    print(told(faults.report, time.monotonic() - began))
    return 1 if faults.report.faults else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

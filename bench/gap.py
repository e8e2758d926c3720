"""Carry 12 generations from a site with a network to one without, in parts and in odd order.

One full bundle and eleven differences; of each third one a part is lost and made again. After each
import, what `ready` and the server say is compared with what must be there by then, and whenever
something new is served as a whole, a full run of sstream-mirror from it with one from the first site
at that generation. Exits with 1 when anything differs, or more than 1.02 bytes were carried for each new one.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

import stage  # noqa: F401 - makes `support` importable
from support.gap import Bundle, SiteA, SiteB, blobs_in, in_odd_order, mirrored, served_wrongly
from support.keys import SigningKey
from support.origin import Origin
from support.running import Service
from support.serving import run_service
from support.tree import SignedTree

from proxy.digest import Digest
from proxy.readable import size

_MOST_OVERHEAD = 1.02
_PARTS = 3

Mirrored = dict[int, dict[str, Digest]]
"""What sstream-mirror made of a generation, by its number."""


class Carrying:
    """Two sites, and what was found on the way."""

    def __init__(self, folder: Path, site_a: SiteA, keyring: Path, random: Random) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        self._folder = folder
        self._site_a = site_a
        self._keyring = keyring
        self._random = random

    async def export_all(
        self, server: Service, generations: int, part_bytes: int
    ) -> tuple[list[Bundle], Mirrored]:
        """Publish, mirror and export each generation."""
        bundles: list[Bundle] = []
        at_a: Mirrored = {}
        for number in range(1, generations + 1):
            generation = await self._site_a.publish()
            at_a[number] = await mirrored(f"{server.base}/m/", self._folder / "mirror-a", self._keyring)
            if at_a[number] != generation.files:
                self.faults.append(f"generation {number}: sstream-mirror from A differs from upstream")
            options = ["--part-size", str(part_bytes)]
            if bundles:
                options += ["--since", str(self._random.choice(bundles[-1].parts))]
            suffix = self._random.choice(["", ".tar"])
            bundle = await self._site_a.export(generation, *options, suffix=suffix)
            if number % 3 == 0:
                bundle = await self._made_again(bundle, options, suffix)
            bundles.append(bundle)
            self.counts["parts"] += len(bundle.parts)
        return bundles, at_a

    async def import_all(self, bundles: list[Bundle], at_a: Mirrored, site_b: SiteB, server: Service) -> None:
        """Import the parts in odd order, and compare after each."""
        mirrored_last = 0
        for bundle, part in in_odd_order(bundles, self._random):
            expected = site_b.expect(bundle.generation, blobs_in(part))
            done = await site_b.take(part)
            self.counts[f"imports that ended with {done.returncode}"] += 1
            if done.returncode != expected:
                self.faults.append(
                    f"{part.name}: {done.returncode} for {expected}: {done.stdout}{done.stderr}"
                )
            self.faults += [f"{part.name}: {one}" for one in await site_b.told_truth()]
            wrong = await served_wrongly(server, site_b)
            self.faults += [f"{part.name}: served wrongly: {one}" for one in wrong]
            served = site_b.served
            if served is None or site_b.missing or served.number == mirrored_last:
                continue
            mirrored_last = served.number
            self.counts["generations mirrored from B"] += 1
            at_b = await mirrored(f"{server.base}/m/", self._folder / "mirror-b", self._keyring)
            if at_b != at_a[served.number]:
                self.faults.append(f"generation {served.number}: sstream-mirror from B differs from A's")
        if mirrored_last != bundles[-1].generation.number:
            self.faults.append(f"B ends with generation {mirrored_last}")

    async def _made_again(self, bundle: Bundle, options: list[str], suffix: str) -> Bundle:
        lost = self._random.choice(bundle.parts)
        blobs = blobs_in(lost)
        kept = lost.rename(self._folder / lost.name)
        number = str(bundle.parts.index(lost) + 1)
        again = await self._site_a.export(bundle.generation, *options, "--only-part", number, suffix=suffix)
        if again.parts != bundle.parts or blobs_in(lost) != blobs:
            self.faults.append(f"{lost.name} made again is not what it was; see {kept}")
        self.counts["parts lost and made again"] += 1
        return again


def told(carrying: Carrying, bundles: list[Bundle], seconds: float) -> str:
    """Return what came of it, in words."""
    carried = sum(bundle.carried_bytes for bundle in bundles)
    new = sum(bundle.generation.new_bytes for bundle in bundles)
    faults = carrying.faults + ([] if carried <= _MOST_OVERHEAD * new else ["too many bytes were carried"])
    return "\n".join(
        [
            f"{len(bundles)} generations in {seconds:.0f} s",
            *(f"  {what:28} {count}" for what, count in sorted(carrying.counts.items())),
            f"  new                          {size(new)}",
            f"  carried                      {size(carried)}, {carried / new:.4f} times what was new",
            f"  faults found                 {len(faults)}",
            *(f"    {fault}" for fault in faults),
        ]
    )


async def main() -> int:
    """Carry them; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--generations", type=int, default=12)
    parser.add_argument("--item-bytes", type=int, default=5_000_000, help="three items are new each time")
    parser.add_argument("--seed", type=int, default=1, help="of forms, losses and order")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sstream-gap-") as name, SigningKey() as key:
        folder, keyring = Path(name), Path(name) / "keyring.gpg"
        keyring.write_bytes(key.public_binary())
        tree = SignedTree(folder / "upstream", key)
        async with Origin(tree.root) as origin:
            site_a = SiteA(folder / "a", tree, origin, keyring, item_bytes=options.item_bytes)
            carrying = Carrying(folder, site_a, keyring, Random(options.seed))
            part_bytes = options.item_bytes * 3 // (_PARTS - 1)
            async with run_service(site_a.commands.config) as server:
                bundles, at_a = await carrying.export_all(server, options.generations, part_bytes)
        site_b = SiteB.of(folder / "b", keyring)
        async with run_service(site_b.commands.config) as server:
            await carrying.import_all(bundles, at_a, site_b, server)
        text = told(carrying, bundles, time.monotonic() - began)
    print(text)
    return 0 if text.endswith(" 0") else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

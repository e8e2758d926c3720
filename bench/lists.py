"""A products list as large as they may be: python bench/lists.py [--items 1000000].

Serves a mirror whose list names so many items, in a process of its own, and
prints the size of the list, how long it takes until the mirror is ready, how long
the event loop stood still at most, the peak of memory, and what came of it.
"""

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

PER_VERSION = 100


def products(count: int, pad: int) -> bytes:
    """Write a list of so many items, each with a comment to make it longer."""
    found: dict[str, object] = {}
    for number in range(0, count, PER_VERSION):
        items = {
            f"f{one}": {
                "ftype": "squashfs",
                "path": f"p{number}/v/f{one}",
                "sha256": f"{number + one:064x}",
                "size": 1000 + one,
                **({"comment": "x" * pad} if pad else {}),
            }
            for one in range(min(PER_VERSION, count - number))
        }
        found[f"p{number}"] = {"arch": "amd64", "versions": {"20250718": {"items": items}}}
    return json.dumps(
        {"content_id": MAAS_CONTENT_ID, "format": "products:1.0", "products": found}, indent=1
    ).encode()


def keyring_file(folder: Path, key: SigningKey) -> Path:
    """Write the public key down."""
    path = folder / "ring.gpg"
    path.write_bytes(key.public_binary())
    return path


async def measure(count: int, pad: int) -> None:
    """Serve it once."""
    worst = 0.0

    async def tick() -> None:
        nonlocal worst
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - began - 0.005)

    with tempfile.TemporaryDirectory() as work, SigningKey() as key:
        tree = SignedTree(Path(work, "upstream"), key)
        tree.add_item("product", "1", "kernel")
        tree.publish()
        signed = key.clearsign(products(count, pad))
        tree.write(f"streams/v1/{MAAS_CONTENT_ID}.sjson", signed)
        ring = keyring_file(Path(work), key)
        async with Origin(tree.root) as origin:
            mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(ring))
            patient = UpstreamOptions(document_limit_bytes=256 * 1024**2)
            async with run_proxy(make_config(Path(work, "data"), mirror, upstream=patient)) as proxy:
                ticking = asyncio.create_task(tick())
                began = time.monotonic()
                await proxy.documents.checks.revalidate()
                took_s = time.monotonic() - began
                state = (await proxy.cache.status())["test"]
                listed = await proxy.read(f"p0/v/f{PER_VERSION - 1}", "HEAD")
                ticking.cancel()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{count} items, {len(signed) / 1e6:.0f} MB signed")
    print(f"  ready after         {took_s:.1f} s")
    print(f"  longest standstill  {worst * 1000:.0f} ms of the event loop")
    print(f"  peak of memory      {peak:.0f} MiB")
    print(f"  items named         {state.get('items', 0)}; HEAD of one: {listed.status}")
    print(f"  problem             {state['last_problem'] or 'none'}")


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--pad", type=int, default=0, help="bytes that make each item longer")
    options = parser.parse_args()
    asyncio.run(measure(options.items, options.pad))


if __name__ == "__main__":
    main()

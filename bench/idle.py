"""Thousands of idle connections: python bench/idle.py [--connections 10000].

Opens them from many loopback addresses to the real service, a third within a
request head, and prints the memory of each, and how long a normal client waits
for an item and an index meanwhile.
"""

import argparse
import asyncio
import json
import resource
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT
from support.serving import run_service, write_config
from support.tree import SignedTree
from support.wire import Wire

from proxy.mirror import Mirror

ADDRESSES = 200


def memory_bytes(pids: list[int]) -> int:
    """Sum up what processes have to themselves."""
    total = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(("Private_Clean:", "Private_Dirty:")):
                total += int(line.split()[1]) * 1024
    return total


def keyring_file(folder: Path, key: SigningKey) -> Path:
    """Write the public key down."""
    path = folder / "ring.gpg"
    path.write_bytes(key.public_binary())
    return path


async def ask(base: str, path: str, times: int) -> list[float]:
    """Return how long each of some requests took, a connection each."""
    took = []
    for _ in range(times):
        began = time.monotonic()
        async with Wire.to(base) as wire:
            reply = await wire.ask(path, Connection="close")
            assert reply.status == 200
            assert reply.is_complete
        took.append(time.monotonic() - began)
    return took


async def measure(wanted: int) -> None:
    """Open, look, and ask."""
    with tempfile.TemporaryDirectory() as work, SigningKey() as key:
        tree = SignedTree(Path(work, "upstream"), key)
        item = tree.add_item("product", "1", "kernel", size=1024 * 1024)
        tree.publish()
        ring = keyring_file(Path(work), key)
        settings = '[clients]\nkeepalive_timeout = "10m"'
        async with Origin(tree.root) as origin:
            mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(ring))
            config = await asyncio.to_thread(lambda: write_config(Path(work), mirror, settings=settings))
            text = config.read_text().replace("workers = 1", "workers = 2")
            config.write_text(text)
            async with run_service(config) as service:
                paths = [MOUNT + item.path, f"{MOUNT}streams/v1/index.sjson"]
                before = {path: await ask(service.base, path, 50) for path in paths}
                empty = memory_bytes(service.worker_pids())
                url = urlsplit(service.base)
                loop = asyncio.get_running_loop()
                idle = []
                began = time.monotonic()
                for number in range(wanted):
                    one = socket.socket()
                    one.setblocking(False)
                    one.bind((f"127.1.{number % ADDRESSES}.1", 0))
                    await loop.sock_connect(one, (url.hostname, url.port))
                    if number % 3 == 0:
                        await loop.sock_sendall(one, b"GET / HTTP/1.1\r\nHost: ")
                    idle.append(one)
                opened_s = time.monotonic() - began
                after = {path: await ask(service.base, path, 50) for path in paths}
                full = memory_bytes(service.worker_pids())
                async with Wire.to(service.base) as wire:
                    limits = json.loads((await wire.ask("/-/stats")).body)["limits"]
                for one in idle:
                    one.close()
    print(f"{wanted} idle connections in {opened_s:.1f} s, two workers")
    print(f"  memory of each         {(full - empty) / wanted / 1024:.1f} KiB")
    for path, name in zip(paths, ("item of 1 MiB", "index"), strict=True):
        for when, took in (("before", before[path]), ("meanwhile", after[path])):
            median, worst = statistics.median(took) * 1000, max(took) * 1000
            print(f"  {name:14} {when:10} median {median:.1f} ms, longest {worst:.1f} ms")
    print(f"  limits met             { {name: count for name, count in limits.items() if count} }")


def main() -> None:
    """Raise the limit of open files, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=10_000)
    wanted = parser.parse_args().connections
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    asyncio.run(measure(wanted))


if __name__ == "__main__":
    main()

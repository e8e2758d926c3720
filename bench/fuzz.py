"""Fuzz for a while: python bench/fuzz.py [--minutes 10] [--only NAME] [--seed N] [--atheris].

Changes the kept corpus (`tests/corpus`) at random and looks whether what
`tests/support/hostile.py` says still holds; `server` sends changed requests to a
running proxy. A finding is printed and written to `build/findings/NAME/`: mend it,
and keep its bytes in the corpus. With --atheris (pip install atheris) the changes
are guided by coverage, for one NAME.
"""

import argparse
import asyncio
import collections
import contextlib
import hashlib
import importlib
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random, SystemRandom

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.garbled import garbled
from support.hostile import CHECKS
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, make_config, run_proxy
from support.tree import SignedTree
from support.wire import Wire, WireReply, request

from proxy.mirror import Mirror
from proxy.web import SERVER_NAME

ROOT = Path(__file__).parent.parent
CORPUS = ROOT / "tests" / "corpus"
FINDINGS = ROOT / "build" / "findings"
SERVER = "server"
TURN_S = 5.0
STOP = request("/-/health", Connection="close") + b"\0\r\n\r\n"
"""Ends the connection, whatever came before it."""


def seeds_of(name: str) -> list[bytes]:
    """Read the kept inputs of a check."""
    folder = "request_head" if name == SERVER else name
    return [file.read_bytes() for file in sorted((CORPUS / folder).iterdir())]


def keep(name: str, data: bytes, error: BaseException) -> None:
    """Write a finding down."""
    folder = FINDINGS / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / hashlib.sha256(data).hexdigest()[:16]
    file.write_bytes(data)
    print(
        f"FOUND {name}: {type(error).__name__}: {error!s:.200}\n  {data[:200]!r}\n  kept in {file}",
        flush=True,
    )


def try_for(name: str, chance: Random, seconds: float) -> tuple[int, int]:
    """Try one check for a while; return how many inputs, and how many findings."""
    seeds, check, tries, found = seeds_of(name), CHECKS[name], 0, 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = garbled(chance, seeds)
        tries += 1
        try:
            check(data)
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            found += 1
            keep(name, data, error)
    return tries, found


class Target:
    """A proxy whose bodies are known."""

    def __init__(self, base: str, bodies: dict[str, bytes]) -> None:
        self.base = base
        self.bodies = bodies
        self.seeds = [
            *(request(target, **extra) for target in bodies for extra in ({}, {"Range": "bytes=1-9"})),
            *(data.replace(b" / ", f" {next(iter(bodies))} ".encode()) for data in seeds_of(SERVER)),
        ]

    async def attack(self, data: bytes) -> None:
        """Send bytes on a connection that is hot already; what is answered must be somebody's whole reply."""
        async with Wire.to(self.base) as wire:
            first = next(iter(self.bodies))
            for _ in range(2):
                assert (await wire.ask(first)).body == self.bodies[first]
            await wire.send(data + STOP)
            with contextlib.suppress(EOFError, asyncio.IncompleteReadError):
                while True:
                    self.check(await wire.reply("HEAD" if b"HEAD" in data else "GET"))

    def check(self, reply: WireReply) -> None:
        """Assert that a reply is one of ours, and a body a known one or a part of one."""
        assert reply.status < 500, reply
        assert reply.headers.get("Server") == SERVER_NAME, reply
        if reply.status in {200, 206} and reply.body:
            assert any(reply.body in body for body in (*self.bodies.values(), b"ok\n")) or (
                reply.body.startswith((b"sstream-proxy ", b"<!doctype", b"{", b"#"))
            ), reply


def keyring_file(folder: Path, key: SigningKey) -> Path:
    """Write the public key down."""
    path = folder / "ring.gpg"
    path.write_bytes(key.public_binary())
    return path


async def attack_for(chance: Random, seconds: float) -> tuple[int, int]:
    """Attack a running proxy for a while; return how many inputs, and how many findings."""
    tries = found = 0
    with tempfile.TemporaryDirectory() as work, SigningKey() as key:
        tree = SignedTree(Path(work, "upstream"), key)
        item = tree.add_item("product", "1", "kernel")
        tree.publish()
        ring = keyring_file(Path(work), key)
        async with Origin(tree.root) as origin:
            mirror = Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(ring))
            async with run_proxy(make_config(Path(work, "data"), mirror)) as proxy:
                index = (await proxy.read("streams/v1/index.sjson")).body
                await proxy.read(item.path)
                bodies = {f"{MOUNT}streams/v1/index.sjson": index, MOUNT + item.path: item.read()}
                target = Target(proxy.base, bodies)
                asked = len(origin.requests)
                end = time.monotonic() + seconds
                while time.monotonic() < end:
                    data = garbled(chance, target.seeds)
                    tries += 1
                    try:
                        async with asyncio.timeout(30):
                            await target.attack(data)
                        assert len(origin.requests) == asked, origin.requests[asked:]
                    except Exception as error:  # noqa: BLE001
                        found += 1
                        asked = len(origin.requests)
                        keep(SERVER, data, error)
    return tries, found


def turns(names: list[str], seconds: float) -> Iterator[tuple[str, float]]:
    """Yield who is tried next, and for how long, until the time is over."""
    end = time.monotonic() + seconds
    while True:
        for name in names:
            left = end - time.monotonic()
            if left <= 0:
                return
            yield name, min(TURN_S, left)


def run_atheris(name: str, seconds: float) -> None:
    """Let coverage guide the changes."""
    import atheris  # noqa: PLC0415 - needs a wheel that not every Python has

    grown = ROOT / "build" / "atheris" / name
    grown.mkdir(parents=True, exist_ok=True)
    artifacts = FINDINGS / name
    artifacts.mkdir(parents=True, exist_ok=True)
    for module in [one for one in sys.modules if one.split(".")[0] in {"proxy", "support"}]:
        del sys.modules[module]
    with atheris.instrument_imports(include=["proxy"]):
        checks = importlib.import_module("support.hostile").CHECKS
    limits = [f"-max_total_time={int(seconds)}", "-timeout=30", f"-artifact_prefix={artifacts}/"]
    atheris.Setup([sys.argv[0], *limits, str(grown), str(CORPUS / name)], checks[name])
    atheris.Fuzz()


def main() -> int:
    """Fuzz; return 1 if something was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--only", action="append", choices=[*CHECKS, SERVER], help="may be repeated")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(2**32))
    parser.add_argument("--atheris", action="store_true", help="with one --only")
    options = parser.parse_args()
    names = options.only or [*CHECKS, SERVER]
    logging.disable(logging.CRITICAL)
    if options.atheris:
        run_atheris(names[0], options.minutes * 60)
        return 0
    print(f"seed {options.seed}", flush=True)
    chance = Random(options.seed)
    tries: collections.Counter[str] = collections.Counter()
    found: collections.Counter[str] = collections.Counter()
    for name, seconds in turns(names, options.minutes * 60):
        done = asyncio.run(attack_for(chance, seconds)) if name == SERVER else try_for(name, chance, seconds)
        tries[name] += done[0]
        found[name] += done[1]
    for name in names:
        print(f"{name:14} {tries[name]:10} inputs  {found[name]} findings")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

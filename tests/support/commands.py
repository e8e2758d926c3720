"""The commands, run as a person runs them, over a data directory and a configuration file."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, TypeVar

from proxy.digest import Digest
from proxy.store.ledger import Ledger
from proxy.store.local.store import LocalStore
from support.tree import TreeItem
from support.warm import run_warm, wait_warm

Found = TypeVar("Found")
Result = subprocess.CompletedProcess[str]


class HasUrl(Protocol):
    """An origin, of whichever kind."""

    @property
    def url(self) -> str:
        """Its address, with its final slash."""


class Commands:
    """The commands, with a configuration for one mirror, called "maas"."""

    def __init__(self, folder: Path, origin: HasUrl, keyring: Path, settings: str = "") -> None:
        self.data = folder / "data"
        self.config = folder / "config.toml"
        self.config.write_text(
            f'data_dir = "{self.data}"\n[cache]\nmin_free = "0"\n'
            f'[[mirror]]\nname = "maas"\nmount = "/m/"\norigins = ["{origin.url}"]\nkeyring = "{keyring}"\n'
            f"{settings}"
        )

    async def start(self, command: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start one command, as a person does."""
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            command,
            "--config",
            str(self.config),
            *arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    async def run(self, command: str, *arguments: str) -> Result:
        """Run one command to its end, in a process that has read the program already."""
        status, out, err = await run_warm([command, "--config", str(self.config), *arguments])
        return Result((command, *arguments), status, out.decode(), err.decode())

    async def held(self, items: Iterable[TreeItem]) -> list[TreeItem]:
        """Return those items whose blobs are in the store, undamaged."""

        def look() -> list[TreeItem]:
            store = LocalStore(self.data)
            return [one for one in items if store.problem(Digest(one.digest), one.size, deep=True) is None]

        return await asyncio.to_thread(look)

    async def in_ledger(self, function: Callable[[Ledger], Found]) -> Found:
        """Return what `function` makes of the ledger."""

        def use() -> Found:
            with closing(Ledger(self.data / "ledger")) as ledger:
                return function(ledger)

        return await asyncio.to_thread(use)

    async def arrived_bytes(self, count: int) -> None:
        """Return when partial files hold that many bytes."""
        incoming = self.data / "incoming"
        while sum(map(_size, incoming.glob("*"))) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.02)

    def blob(self, item: TreeItem) -> Path:
        """Return the file of an item's blob."""
        return self.data / "blobs/sha256" / item.digest[:2] / item.digest


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0  # It was committed meanwhile.


def run_forked(*arguments: str, env: Mapping[str, str] | None = None) -> Result:
    """Run the program to its end, in a process that has read it already."""
    status, out, err = wait_warm([*arguments], env)
    return Result(arguments, status, out.decode(), err.decode())


def run_program(*arguments: str, folder: Path, **environ: str) -> Result:
    """Run the program with a home of its own, in that folder, and with more in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def events(result: Result) -> dict[str, dict[str, Any]]:
    """Return the last JSON line of each kind."""
    return {line["event"]: line for line in map(json.loads, result.stdout.splitlines())}

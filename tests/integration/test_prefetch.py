"""The commands `prefetch`, `ready` and `query`, as a person runs them."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree, TreeItem

from proxy.digest import Digest
from proxy.store.local import LocalStore


class Commands:
    """The commands, with a configuration for one mirror."""

    def __init__(self, tmp_path: Path, origin: Origin, keyring: Path) -> None:
        self.data = tmp_path / "data"
        self._config = tmp_path / "config.toml"
        self._config.write_text(
            f'data_dir = "{self.data}"\n[cache]\nmin_free = "0"\n'
            f'[[mirror]]\nname = "maas"\nmount = "/m/"\norigins = ["{origin.url}"]\nkeyring = "{keyring}"\n'
        )

    async def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        command, *rest = arguments
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            command,
            "--config",
            str(self._config),
            *rest,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        out, err = await process.communicate()
        return subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), err.decode())

    async def held(self, items: Iterable[TreeItem]) -> list[TreeItem]:
        """Return those items whose blobs are in the store, undamaged."""

        def look() -> list[TreeItem]:
            store = LocalStore(self.data)
            return [one for one in items if store.problem(Digest(one.digest), one.size, deep=True) is None]

        return await asyncio.to_thread(look)

    def blob(self, item: TreeItem) -> Path:
        """Return the file of an item's blob."""
        return self.data / "blobs/sha256" / item.digest[:2] / item.digest


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's: two releases, two architectures, boot loaders."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Iterator[Commands]:
    """Return the commands for that tree."""
    return Commands(tmp_path, origin, keyring)


def events(result: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    """Return the last JSON line of each kind."""
    return {line["event"]: line for line in map(json.loads, result.stdout.splitlines())}


async def test_the_plan_and_the_run_agree_to_the_byte_and_the_next_run_fetches_nothing(
    commands: Commands, origin: Origin
) -> None:
    arguments = ("prefetch", "arch=amd64", "release=noble", "--max=1", "--json")

    planned = events(await commands.run(*arguments, "--dry-run"))["plan"]
    done = await commands.run(*arguments)
    summary = events(done)["summary"]
    origin.clear()
    again = events(await commands.run(*arguments))

    assert done.returncode == 0
    assert planned["fetch_bytes"] == summary["fetched_bytes"] == planned["total_bytes"] > 0
    assert again["summary"]["fetched_bytes"] == again["plan"]["fetch_bytes"] == 0
    assert all(request.path.startswith("streams/") for request in origin.requests)


async def test_options_and_filters_may_stand_in_any_order(commands: Commands) -> None:
    one = await commands.run("query", "--json", "arch=amd64", "--max=1", "release=noble", "--offline")
    await commands.run("prefetch", "--dry-run", "arch=amd64")
    two = await commands.run("query", "release=noble", "--max=1", "--json", "arch=amd64")

    assert one.returncode == 1
    assert two.returncode == 0
    assert {row["release"] for row in json.loads(two.stdout)} == {"noble"}


async def test_a_maas_selection_is_what_maas_asks_for_boot_loaders_included(commands: Commands) -> None:
    done = await commands.run("prefetch", "--maas", "noble", "--arch", "amd64", "--json")
    rows = json.loads((await commands.run("query", "--json", "--offline")).stdout)
    cached = [row for row in rows if row["cached"] == "yes"]

    assert done.returncode == 0
    assert {row["ftype"] for row in cached} == {"boot-kernel", "boot-initrd", "squashfs", "archive.tar.xz"}
    images = [row for row in cached if "bootloader-type" not in row]
    assert {(row["release"], row["arch"]) for row in images} == {("noble", "amd64")}
    assert len({row["version_name"] for row in images}) == 1


async def test_a_filter_that_matches_nothing_shows_what_there_is(commands: Commands) -> None:
    result = await commands.run("prefetch", "release=nobel", "--dry-run")

    assert result.returncode == 1
    assert "release is one of: 'noble'" in result.stderr


@pytest.mark.parametrize(
    ("expression", "meant"),
    [
        ("arch==amd64", "'arch=amd64'"),
        ("arch=amd64,arm64", "'arch~^(amd64|arm64)$'"),
        ("relase!=x", "'release'"),
    ],
)
async def test_what_surprises_is_warned_of(commands: Commands, expression: str, meant: str) -> None:
    result = await commands.run("prefetch", expression, "--dry-run")

    assert f"{meant} was probably meant" in result.stderr


async def test_one_absent_item_does_not_stop_the_rest_and_is_named_at_the_end(
    commands: Commands, tree: SignedTree
) -> None:
    *rest, gone = [item for item in tree.items if item.path.endswith("squashfs")]
    gone.data_path.unlink()

    result = await commands.run("prefetch", "ftype=squashfs")

    assert result.returncode == 3
    assert f"FAILED maas {gone.path}: no origin has {gone.path}" in result.stdout
    assert await commands.held(rest) == rest


async def test_ready_proves_it_and_names_what_is_missing_or_wrong(
    commands: Commands, tree: SignedTree, origin: Origin
) -> None:
    selection = ("--maas", "noble", "--arch", "amd64")
    assert (await commands.run("ready", *selection)).returncode == 1
    await commands.run("prefetch", *selection)
    await origin.stop()
    assert (await commands.run("ready", *selection)).returncode == 0
    assert (await commands.run("ready", *selection, "--deep")).returncode == 0

    items = {item.digest: item for item in tree.items}
    held = await commands.held(items.values())
    flipped, truncated, missing = held[:3]
    for item, data in ((flipped, b"x" + flipped.read()[1:]), (truncated, truncated.read()[:-1])):
        commands.blob(item).chmod(0o644)
        commands.blob(item).write_bytes(data)
    commands.blob(missing).unlink()

    quick = await commands.run("ready", *selection)
    deep = await commands.run("ready", *selection, "--deep")

    assert quick.returncode == deep.returncode == 1
    assert f"has {truncated.size - 1} bytes instead of {truncated.size}" in quick.stdout
    assert "is missing" in quick.stdout
    assert "is damaged" not in quick.stdout
    assert "is damaged" in deep.stdout


async def test_a_second_filter_removes_nothing_of_the_first(commands: Commands, tree: SignedTree) -> None:
    await commands.run("prefetch", "release=jammy", "--max=1")
    before = await commands.held(tree.items)

    await commands.run("prefetch", "os~(grub*|pxelinux)")

    assert before
    assert await commands.held(before) == before


@pytest.mark.parametrize("arguments", [("--arch", "amd64"), ("arch",), ("release~(",), ("--mirror", "other")])
async def test_wrong_usage_is_said_plainly(commands: Commands, arguments: tuple[str, ...]) -> None:
    result = await commands.run("prefetch", *arguments)

    assert result.returncode == 2
    assert "Traceback" not in result.stderr

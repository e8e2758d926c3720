"""Prefetch rules: run by `sync`, by the server when they are due, and never twice at a time."""

import asyncio
import json
import signal
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from support.commands import Commands, events
from support.faults import Fault
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree, TreeItem

from proxy.store.pins import Pins

LAB = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nfilters = ["release=noble", "arch=amd64"]\nmax = 1\n'
LOADERS = '[[prefetch]]\nname = "loaders"\nmirror = "maas"\nfilters = ["os~(grub*|pxelinux)"]\n'
HOUR = 3600.0


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("24.04",))


def commands_with(tmp_path: Path, origin: Origin, keyring: Path, settings: str) -> Commands:
    return Commands(tmp_path, origin, keyring, settings)


def items_of(tree: SignedTree, serial: str) -> list[TreeItem]:
    return [item for item in tree.items if f"/{serial}/" in item.path]


async def pinned(commands: Commands, name: str) -> set[str]:
    return {str(digest) for digest in await commands.in_ledger(lambda ledger: Pins(ledger).pinned_by(name))}


@pytest.mark.usefixtures("tree")
async def test_a_rule_says_once_that_the_proxy_is_offline_and_is_not_complete(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    commands = commands_with(tmp_path, origin, keyring, LAB)
    await commands.run("refresh")
    await commands.run("offline", "on")
    origin.clear()

    done = await commands.run("sync", "--json")

    told = json.loads(done.stdout)
    assert (done.returncode, told["outcome"], told["failures"]) == (3, "partial", [])
    assert "(`sstream-proxy offline off` ends that)" in told["problem"]
    assert not origin.requests


async def test_sync_runs_all_rules_and_one_removes_nothing_of_the_other(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    commands = commands_with(tmp_path, origin, keyring, LAB + LOADERS)

    first = await commands.run("sync")
    origin.clear()
    second = await commands.run("sync", "--json")

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert "lab: complete, fetched" in first.stdout
    assert await commands.held(items_of(tree, "20250709")) == items_of(tree, "20250709")
    assert await pinned(commands, "rule lab")
    assert await pinned(commands, "rule loaders")
    assert not await pinned(commands, "rule lab") & await pinned(commands, "rule loaders")
    assert all(request.path.startswith("streams/") for request in origin.requests)
    assert (await commands.run("ready", "--rule", "lab")).returncode == 0


async def test_a_rule_keeps_the_newest_versions_and_lets_older_ones_go_once_those_are_complete(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    commands = commands_with(tmp_path, origin, keyring, LAB)
    await commands.run("sync")
    old = {item.digest for item in items_of(tree, "20250709") if not item.path.endswith("manifest")}
    assert old <= await pinned(commands, "rule lab")
    product = next(name for name in tree.document()["products"] if "amd64:ga-24.04" in name)
    new = [
        tree.add_item(product, "20250801", "squashfs", size=9000, ftype="squashfs"),
        tree.add_item(product, "20250801", "boot-kernel", size=3000, ftype="boot-kernel"),
    ]
    tree.publish()

    new[1].data_path.rename(tmp_path / "away")
    partial = await commands.run("sync")
    still = await pinned(commands, "rule lab")
    (tmp_path / "away").rename(new[1].data_path)
    await commands.in_ledger(lambda ledger: [ledger.forget(key) for key in ledger.keys("absent/")])
    complete = await commands.run("sync")
    now = await pinned(commands, "rule lab")
    protected = await commands.in_ledger(lambda ledger: Pins(ledger).protected())

    assert partial.returncode == 3
    assert f"FAILED {new[1].path}" in partial.stdout
    assert old <= still
    assert complete.returncode == 0
    assert {item.digest for item in new} <= now
    assert f"+ {product} 20250801" in complete.stdout
    assert f"- {product} 20250709" in complete.stdout
    assert old - now
    assert old <= {str(digest) for digest in protected}
    assert await commands.held(tree.items)


async def test_a_list_tells_of_the_last_run_and_the_next(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    commands = commands_with(tmp_path, origin, keyring, LAB + 'schedule = "daily"\n' + LOADERS)
    await commands.run("offline", "off")  # Makes the data directory, and asks no origin.
    before = await commands.run("sync", "--list")
    await commands.run("sync", "lab")

    after = await commands.run("sync", "--list")
    told = json.loads((await commands.run("sync", "--list", "--json")).stdout)

    assert before.stdout.count("has never run") == 2
    assert "complete, fetched" in after.stdout
    assert "next  daily" in after.stdout
    assert "next  by sync only" in after.stdout
    assert told["lab"]["last"]["outcome"] == "complete"
    assert told["lab"]["last"]["fetched_bytes"] > 0
    assert told["loaders"]["last"] is None


async def test_two_runs_of_one_rule_never_overlap(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    commands = commands_with(tmp_path, origin, keyring, LAB)
    (kernel, *_) = [item for item in items_of(tree, "20250709") if item.path.endswith("boot-kernel")]
    stall = origin.fault(kernel.path, Fault(stall_after=100))
    first = await commands.start("sync")
    await origin.arrived(kernel.path)

    second = await commands.run("sync")
    listed = await commands.run("sync", "--list")
    stall.remove()
    await first.communicate()

    assert second.returncode == 0
    assert "being run already" in second.stderr
    assert "running now" in listed.stdout
    assert first.returncode == 0


async def test_outside_of_its_window_a_rule_is_passed_over(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    later = datetime.now() + timedelta(hours=2)  # noqa: DTZ005 - windows are in local time
    window = f'window = "{later:%H:%M}-{later + timedelta(hours=1):%H:%M}"\n'
    commands = commands_with(tmp_path, origin, keyring, LAB + window)

    waiting = await commands.run("sync")
    anytime = await commands.run("sync", "--anytime", "--json")

    assert waiting.returncode == 0
    assert "its window opens at" in waiting.stderr
    assert anytime.returncode == 0
    assert events(anytime)["rule"]["outcome"] == "complete"


@pytest.mark.parametrize("arguments", [("sync", "lba"), ("ready", "--rule", "lba")])
async def test_an_unknown_rule_is_a_mistake(
    tmp_path: Path, origin: Origin, keyring: Path, arguments: tuple[str, str]
) -> None:
    result = await commands_with(tmp_path, origin, keyring, LAB).run(*arguments)

    assert result.returncode == 2
    assert "there is no [[prefetch]] rule 'lba'; there are: lab" in result.stderr


async def test_a_started_server_runs_its_rules(tmp_path: Path, origin: Origin, keyring: Path) -> None:
    """In a process of its own, which ends with the server."""
    commands = commands_with(tmp_path, origin, keyring, LAB + 'schedule = "every 1d"\n')
    server = await commands.start("serve", "--listen", "127.0.0.1:0", "--workers", "1")
    async with asyncio.timeout(30):
        while True:
            listed = await commands.run("sync", "--list", "--json")
            if listed.returncode != 0:  # The server has yet to make its data directory.
                continue
            told = json.loads(listed.stdout)["lab"]
            if told["last"] is not None and not told["is_running"]:
                break
    server.send_signal(signal.SIGTERM)
    await server.communicate()

    assert told["last"]["outcome"] == "complete"
    assert told["next_at"] == pytest.approx(told["last"]["started_at"] + 24 * HOUR, abs=5)
    assert server.returncode == 0
    assert (await commands.run("ready", "--rule", "lab")).returncode == 0

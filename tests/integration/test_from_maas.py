"""What is selected in a MAAS is prefetched: by the command, and by rules, which keep what they knew last."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.commands import Commands, run_program
from support.keys import SigningKey
from support.maas import maas_tree
from support.maas_region import KEY, Region, run_region
from support.origin import Origin
from support.tree import SignedTree, TreeItem

NEWEST = "20250709"


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, releases=("22.04", "24.04"), arches=("amd64", "arm64"))


@pytest.fixture
async def region(keyring: Path) -> AsyncIterator[Region]:
    """Return a MAAS in which noble is selected for amd64, and CentOS."""
    async with run_region(Region("3.4.1", keyring)) as region:
        region.add_selection(1, "centos", "8")
        yield region


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "maas.key"
    file.write_text(KEY)
    file.chmod(0o600)
    return file


def rule_of(url: str) -> str:
    """Return the configuration of a rule."""
    return f'[[prefetch]]\nname = "lab"\nmirror = "maas"\nfrom_maas = "{url}"\nkey_file = "maas.key"\n'


def selected(tree: SignedTree) -> list[TreeItem]:
    """Return what MAAS imports of what is selected, boot loaders included."""
    folders = (f"noble/amd64/{NEWEST}/", f"centos/8/amd64/{NEWEST}", "bootloaders/")
    return [
        item
        for item in tree.items
        if item.path.startswith(folders) and NEWEST in item.path and not item.path.endswith("manifest")
    ]


async def test_the_command_fetches_what_is_selected_and_nothing_else(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path, region: Region, key_file: Path
) -> None:
    commands = Commands(tmp_path, origin, keyring)

    done = await commands.run("prefetch", "--from-maas", region.base, "--key-file", str(key_file))

    assert done.returncode == 0, done.stderr
    assert "ubuntu/noble on amd64; centos/8 on amd64" in done.stderr
    wanted = selected(tree)
    assert len(wanted) > 8
    assert await commands.held(tree.items) == wanted
    assert region.changes == []


@pytest.mark.usefixtures("tree")
async def test_what_is_selected_and_not_in_the_lists_is_told(
    tmp_path: Path, origin: Origin, keyring: Path, region: Region, key_file: Path
) -> None:
    region.add_selection(1, "ubuntu", "trusty")
    commands = Commands(tmp_path, origin, keyring)
    words = ("prefetch", "--from-maas", region.base)

    lacking, keyless, twice, needless = await asyncio.gather(
        commands.run(*words, "--key-file", str(key_file), "--dry-run"),
        commands.run(*words),
        commands.run(*words, "--maas", "noble"),
        commands.run("prefetch", "--key-file", str(key_file)),
    )

    assert lacking.returncode == 1
    assert "ubuntu/trusty on amd64, which MAAS has selected, is not there" in lacking.stderr
    assert [one.returncode for one in (keyless, twice, needless)] == [2, 2, 2]
    assert "--key-file" in keyless.stderr
    assert "--from-maas" in twice.stderr + needless.stderr


async def test_a_maas_that_does_not_tell_what_is_selected_has_nothing_fetched(
    tmp_path: Path, origin: Origin, keyring: Path, region: Region, key_file: Path
) -> None:
    region.lacking = ("/selections/",)
    words = ("prefetch", "--from-maas", region.base, "--key-file", str(key_file))

    failed = await Commands(tmp_path, origin, keyring).run(*words)

    assert failed.returncode == 1
    assert "does not tell by its API what is selected" in failed.stderr


@pytest.mark.usefixtures("key_file")
async def test_a_rule_takes_what_is_selected_then_and_keeps_it_when_maas_is_away(
    tmp_path: Path, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    region = Region("3.8.0", keyring)
    async with run_region(region):
        commands = Commands(tmp_path, origin, keyring, rule_of(region.base))
        early = await commands.run("ready", "--rule", "lab")
        first = await commands.run("sync", "--json")
        region.add_selection(1, "ubuntu", "jammy", "arm64")
        second = await commands.run("sync", "--json")
        assert (await commands.run("ready", "--rule", "lab")).returncode == 0
    away = await commands.run("sync", "--json")

    told = [json.loads(one.stdout.splitlines()[-1]) for one in (first, second, away)]
    assert early.returncode == 1
    assert [one["outcome"] for one in told] == ["complete", "complete", "partial"]
    assert told[1]["wanted_items"] > told[0]["wanted_items"] > 0
    assert told[2]["wanted_items"] == told[1]["wanted_items"]
    assert "as it was known last" in told[2]["problem"]
    assert "cannot be reached" in told[2]["problem"]
    jammy = [one for one in tree.items if one.path.startswith(f"jammy/arm64/{NEWEST}/ga-22.04")]
    assert await commands.held(jammy) == jammy
    assert KEY.split(":")[2] not in away.stdout + away.stderr


@pytest.mark.usefixtures("tree", "key_file")
async def test_a_rule_whose_maas_was_never_reached_fails_and_says_so(
    tmp_path: Path, origin: Origin, keyring: Path
) -> None:
    url = "http://127.0.0.1:9/MAAS"
    commands = Commands(tmp_path, origin, keyring, rule_of(url))

    failed = await commands.run("sync")
    listed = await commands.run("sync", "--list")

    assert failed.returncode == 1
    assert "cannot be reached" in failed.stdout
    assert f"maas: from-maas={url}" in listed.stdout


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ('from_maas = "maas"\nkey_file = "maas.key"', "no URL of a MAAS"),
        ('from_maas = "http://u:hunter2@maas/MAAS"\nkey_file = "maas.key"', "leave it out"),
        ('from_maas = "http://maas/MAAS"', "key_file: is missing"),
        ('from_maas = "http://maas/MAAS"\nkey_file = "none.key"', "there is no file"),
        (
            'from_maas = "http://maas/MAAS"\nkey_file = "maas.key"\nmaas = ["noble"]',
            "maas: goes without from_maas",
        ),
        ('key_file = "maas.key"', "goes with from_maas"),
    ],
)
@pytest.mark.usefixtures("key_file")
def test_a_rule_that_makes_no_sense_is_refused(tmp_path: Path, lines: str, told: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[[prefetch]]\nname = "lab"\nmirror = "maas-stable"\n{lines}\n')

    checked = run_program("check-config", "--config", str(config), folder=tmp_path)

    assert checked.returncode == 2
    assert told in checked.stderr + checked.stdout
    assert "hunter2" not in checked.stderr + checked.stdout

"""One path that lists name with different bytes: who serves, fetches, proves and lists goes by one rule."""

import json
from pathlib import Path
from typing import Any

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.lists import build_catalog
from support.origin import Origin
from support.running import RunningProxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.simplestreams.model import Products

PATH = "images/shared.squashfs"
OTHER = "com.ubuntu.maas:stable:1:other-download"
OLD, NEW = b"old bytes", b"the newer bytes"


def conflict(tree: SignedTree, spelling: str, content_id: str, *, wins: bytes = NEW) -> None:
    """Name one path twice, with the bytes that the greater version gives it at the origin, and publish."""
    first = tree.add_item("p", "20250101", "squashfs", path=PATH, data=OLD, release="noble")
    old = {"sha256": first.digest, "size": first.size}
    tree.add_item("q", "20250202", "squashfs", path=PATH, data=NEW, content_id=content_id, release="noble")
    tree.version("p", "20250101")["items"]["squashfs"].update(old, path=spelling)
    tree.write(PATH, wins)
    tree.publish()


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return the commands for the tree."""
    return Commands(tmp_path, origin, keyring)


@pytest.mark.parametrize("spelling", [PATH, "images/shared%2Esquashfs", "%69mages/shared.squashfs"])
@pytest.mark.parametrize("content_id", [OTHER, MAAS_CONTENT_ID])
async def test_all_commands_agree_with_what_is_served(
    tree: SignedTree, commands: Commands, spelling: str, content_id: str
) -> None:
    conflict(tree, spelling, content_id)

    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")
    rows = json.loads((await commands.run("query", "--json", "--offline")).stdout)
    stats = json.loads((await commands.run("stats", "--json")).stdout)

    assert (fetched.returncode, ready.returncode) == (0, 0), fetched.stderr + ready.stdout
    assert "disagree on images/shared.squashfs" in fetched.stderr
    assert [row["cached"] for row in rows] == ["yes", "yes"]
    (problem,) = [one["text"] for one in stats["problems"] if one["subject"] == "mirror maas"]
    assert "has lists that disagree: images/shared.squashfs: " in problem
    for version in ("20250101", "20250202"):
        assert f"(version {version})" in problem
    kept, _, other = problem.partition("which is served")
    assert f"streams/v1/{content_id}.sjson says sha256" in kept
    assert "(version 20250202)" in kept
    assert f"streams/v1/{MAAS_CONTENT_ID}.sjson says sha256" in other


async def test_what_cannot_be_had_is_incomplete_for_both(tree: SignedTree, commands: Commands) -> None:
    """The origin has the bytes of the version that does not count."""
    conflict(tree, PATH, OTHER, wins=OLD)

    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")

    assert (fetched.returncode, ready.returncode) == (3, 1)
    assert f"maas {PATH} is missing" in ready.stdout


async def test_clients_get_what_counts(tree: SignedTree, proxy: RunningProxy) -> None:
    conflict(tree, PATH, OTHER)
    assert (await proxy.read(PATH)).body == NEW


async def test_one_digest_with_two_sizes_is_not_complete(tree: SignedTree, commands: Commands) -> None:
    item = tree.add_item("p", "1", "squashfs", path="a", data=NEW)
    tree.add_item("p", "1", "zzz", path="b", data=NEW)
    tree.version("p", "1")["items"]["zzz"]["size"] = item.size + 1
    tree.publish()

    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")

    assert (fetched.returncode, ready.returncode) == (3, 1)
    assert "FAILED maas b: " in fetched.stdout
    assert "maas b has 15 bytes instead of 16" in ready.stdout


@pytest.mark.parametrize("data", [b"", NEW], ids=["empty", "all of it"])
async def test_what_has_arrived_and_was_not_proved_is_not_complete(
    tree: SignedTree, commands: Commands, data: bytes
) -> None:
    """A file without a byte, and one whose transfer was cut between its last byte and its proof."""
    item = tree.add_item("p", "1", "squashfs", path="a", data=data)
    tree.publish()
    await commands.run("refresh")
    (commands.data / "incoming" / item.digest).write_bytes(data)

    before = json.loads((await commands.run("query", "--json")).stdout)
    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")
    after = json.loads((await commands.run("query", "--json")).stdout)

    assert [row["cached"] for row in before] == ["partial" if data else "no"]
    assert (fetched.returncode, ready.returncode) == (0, 0), fetched.stderr + ready.stdout
    assert [row["cached"] for row in after] == ["yes"]


async def test_a_list_that_gives_a_file_no_bytes_is_not_complete(
    tree: SignedTree, commands: Commands
) -> None:
    tree.add_item("p", "1", "squashfs", path="a", data=NEW)
    tree.version("p", "1")["items"]["squashfs"]["size"] = 0
    tree.publish()

    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")

    assert (fetched.returncode, ready.returncode) == (3, 1)


async def test_an_item_at_a_documents_path_is_the_document(tree: SignedTree, commands: Commands) -> None:
    tree.add_item("p", "1", "squashfs", path="a", data=NEW)
    tree.add_item("p", "1", "list", path="b", data=OLD)
    tree.publish()
    path = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
    tree.version("p", "1")["items"]["list"]["path"] = path
    tree.publish()

    fetched = await commands.run("prefetch")
    ready = await commands.run("ready")
    stats = json.loads((await commands.run("stats", "--json")).stdout)

    assert (fetched.returncode, ready.returncode) == (0, 0), fetched.stderr + ready.stdout
    assert f"{path}: a document of the mirror, which is served, and listed as an item" in str(
        stats["problems"]
    )


async def test_two_mirrors_do_not_contradict_each_other(
    tmp_path: Path, key: SigningKey, tree: SignedTree, origin: Origin, keyring: Path
) -> None:
    tree.add_item("p", "1", "squashfs", path=PATH, data=OLD)
    tree.publish()
    other = SignedTree(tmp_path / "other", key)
    other.add_item("p", "2", "squashfs", path=PATH, data=NEW)
    other.publish()
    async with Origin(other.root) as second:
        settings = f'[[mirror]]\nname = "b"\nmount = "/b/"\norigins = ["{second.url}"]\n'
        commands = Commands(tmp_path, origin, keyring, f'{settings}keyring = "{keyring}"\n')
        both = ("--mirror", "maas", "--mirror", "b")
        fetched = await commands.run("prefetch", *both)
        ready = await commands.run("ready", *both)
        stats = json.loads((await commands.run("stats", "--json")).stdout)

    assert (fetched.returncode, ready.returncode) == (0, 0)
    assert "lists disagree" not in fetched.stderr
    assert not [one for one in stats["problems"] if "disagree" in one["text"]]


def listed(*entries: tuple[str, str, str, int]) -> Products:
    """Return a list of (path, version, first letters of the digest, size)."""
    products: dict[str, Any] = {}
    for number, (path, version, digest, size) in enumerate(entries):
        item = {"path": path, "sha256": digest * 32, "size": size}
        products[f"p{number}"] = {"versions": {version: {"items": {"i": item}}}}
    return Products(content_id="c", updated=None, document={"products": products})


@pytest.mark.parametrize(
    ("lists", "found"),
    [
        ([[("a", "1", "aa", 5)], [("a", "2", "bb", 5)]], [("a", "bb", "aa", 1, 0)]),
        ([[("a", "2", "aa", 5)], [("a", "1", "bb", 5)]], [("a", "aa", "bb", 0, 1)]),
        ([[("a", "1", "aa", 5)], [("a", "1", "bb", 5)]], [("a", "aa", "bb", 0, 1)]),
        ([[("a", "1", "aa", 5)], [("a", "2", "aa", 6)]], [("a", "aa", "aa", 1, 0)]),
        ([[("a", "1", "aa", 5), ("a", "2", "bb", 5)]], [("a", "bb", "aa", 0, 0)]),
        ([[("a", "1", "aa", 5), ("a", "2", "bb", 5), ("a", "3", "aa", 5)]], [("a", "aa", "bb", 0, 0)]),
        ([[("a", "1", "aa", 5), ("a", "1", "aa", 5)]], []),
        ([[("a", "1", "aa", 5)], [("a", "1", "aa", 5)]], []),
        ([[("a", "1", "aa", 5)], [("a", "9", "zz", 5)]], []),
        ([[("a", "1", "aa", 5)], [("b", "1", "bb", 5)]], []),
    ],
)
def test_conflicts_are_told_once_with_what_counts_first(
    lists: list[list[tuple[str, str, str, int]]], found: list[tuple[str, str, str, int, int]]
) -> None:
    catalog = build_catalog(listed(*one) for one in lists)
    told = [
        (kept.path, str(kept.digest)[:2], str(other.digest)[:2], kept_in, other_in)
        for (kept, other), kept_in, other_in in catalog.conflicts()
    ]
    assert told == found
    for path, kept, _, _, _ in found:
        item = catalog.find(path)
        assert item is not None
        assert item.digest.startswith(kept)


def test_many_conflicts_are_told_in_part() -> None:
    one = listed(*((f"path {number}", "1", "aa", 5) for number in range(1000)))
    two = listed(*((f"path {number}", "2", "bb", 5) for number in range(1000)))
    assert len(build_catalog([one, two]).conflicts()) == 100

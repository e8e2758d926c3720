"""The commands of a site without a network, and the tree that somebody has left there."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.left_trees import Copy, Nowhere, add
from support.tree import SignedTree, TreeItem


@pytest.fixture
def commands(tmp_path: Path, keyring: Path) -> Commands:
    """Return the commands of a site that has no network."""
    commands = Commands(tmp_path, Nowhere(), keyring)
    commands.config.write_text(f"offline = true\n{commands.config.read_text()}")
    return commands


@pytest.fixture
def stranger() -> Iterator[SigningKey]:
    """Return a key that is not in the keyring."""
    with SigningKey("Stranger <stranger@example.test>") as key:
        yield key


@pytest.fixture
def items(tree: SignedTree) -> list[TreeItem]:
    """Return the items of a first generation."""
    return add(tree, "20250701")


@pytest.fixture
def copy(tree: SignedTree, tmp_path: Path) -> Copy:
    """Return how to copy the tree as sstream-mirror does: signed lists, items, and its notes."""

    def copy() -> Path:
        target = tmp_path / "site/left"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(tree.root, target, ignore=shutil.ignore_patterns("*.json"))
        (target / ".data").mkdir()
        (target / ".data/references.json").write_text("{}")
        return target

    return copy

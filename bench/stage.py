"""What every bench needs first: a signed tree, a keyring, and an origin for it."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.keys import SigningKey
from support.tree import SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"


class Stage(NamedTuple):
    """A tree on disk, ready to be served by an origin."""

    work: Path
    root: Path
    keyring: Path
    items: list[TreeItem]


@contextlib.contextmanager
def stage(sizes_bytes: list[int]) -> Iterator[Stage]:
    """Make a tree with one item of each size; everything goes when the context ends."""
    with tempfile.TemporaryDirectory(prefix="sstream-bench-") as directory, SigningKey() as key:
        work = Path(directory)
        tree = SignedTree(work / "upstream", key)
        items = [
            tree.add_item(PRODUCT, "20250718", f"item-{number}", size=size, seed=str(number))
            for number, size in enumerate(sizes_bytes)
        ]
        tree.publish()
        keyring = work / "keyring.gpg"
        keyring.write_bytes(key.public_binary())
        yield Stage(work, tree.root, keyring, items)

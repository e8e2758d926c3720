"""What every bench needs first: a signed tree, a keyring, and an origin for it."""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.keys import SigningKey
from support.tree import SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"

_ITEMS_PER_VERSION = 4
_VERSIONS_PER_PRODUCT = 5


class Stage(NamedTuple):
    """A tree on disk, ready to be served by an origin."""

    work: Path
    root: Path
    keyring: Path
    items: list[TreeItem]


@contextlib.contextmanager
def stage(sizes_bytes: list[int], listed_only: int = 0) -> Iterator[Stage]:
    """Make a tree with one item of each size; everything goes when the context ends.

    `listed_only` further items are in the list, but have no bytes: enough for a plan.
    """
    with tempfile.TemporaryDirectory(prefix="sstream-bench-") as directory, SigningKey() as key:
        work = Path(directory)
        tree = SignedTree(work / "upstream", key)
        items = [
            tree.add_item(PRODUCT, "20250718", f"item-{number}", size=size, seed=str(number))
            for number, size in enumerate(sizes_bytes)
        ]
        for number in range(listed_only):
            _list_only(tree, number)
        tree.publish()
        keyring = work / "keyring.gpg"
        keyring.write_bytes(key.public_binary())
        yield Stage(work, tree.root, keyring, items)


def _list_only(tree: SignedTree, number: int) -> None:
    """List an item as real lists do: a few items a version, a few versions a product."""
    version_number, item_number = divmod(number, _ITEMS_PER_VERSION)
    product_number, version_number = divmod(version_number, _VERSIONS_PER_PRODUCT)
    product, version, name = f"{PRODUCT}-{product_number}", f"2025071{version_number}", f"item-{item_number}"
    tree.product(product, arch="amd64", os="ubuntu", release="noble", version="24.04")
    tree.version(product, version)["items"][name] = {
        "ftype": name,
        "path": f"{product.replace(':', '/')}/{version}/{name}",
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "size": 1024 * 1024,
    }

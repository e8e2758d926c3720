"""What every bench needs first: a signed tree, a keyring, and an origin for it."""

import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.certificates import Certificate, make_certificate
from support.keys import SigningKey
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX_PATH = "streams/v1/index.sjson"
PRODUCTS_PATH = f"streams/v1/{MAAS_CONTENT_ID}.sjson"

_ITEMS_PER_VERSION = 4
_VERSIONS_PER_PRODUCT = 5
_LISTED_PER_DOCUMENT = 100_000


class Stage(NamedTuple):
    """A tree on disk, ready to be served by an origin."""

    work: Path
    root: Path
    keyring: Path
    items: list[TreeItem]
    tree: SignedTree

    def folder(self, name: str) -> Path:
        """Make a folder of this name, for a server to work in."""
        folder = self.work / name
        folder.mkdir(parents=True)
        return folder

    def certificate(self) -> Certificate:
        """Make a certificate for 127.0.0.1, of an authority that nobody knows."""
        return make_certificate(self.folder("certificate"))


@contextlib.contextmanager
def stage(sizes_bytes: list[int], listed_only: int = 0) -> Iterator[Stage]:
    """Make a tree with one item of each size; everything goes when the context ends.

    `listed_only` further items are in the lists, but have no bytes.
    """
    with tempfile.TemporaryDirectory(prefix="sstream-bench-") as directory, SigningKey() as key:
        work = Path(directory)
        # Apache, started by root, serves it as nobody.
        work.chmod(0o755)
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
        yield Stage(work, tree.root, keyring, items, tree)


def _list_only(tree: SignedTree, number: int) -> None:
    """List an item as real lists do: a few items a version, a few versions a product, several lists."""
    version_number, item_number = divmod(number, _ITEMS_PER_VERSION)
    product_number, version_number = divmod(version_number, _VERSIONS_PER_PRODUCT)
    document_number = number // _LISTED_PER_DOCUMENT
    content_id = f"{MAAS_CONTENT_ID}-{document_number}" if document_number else MAAS_CONTENT_ID
    product, version, name = f"{PRODUCT}-{product_number}", f"2025071{version_number}", f"item-{item_number}"
    tree.product(product, content_id, arch="amd64", os="ubuntu", release="noble", version="24.04")
    tree.version(product, version, content_id)["items"][name] = {
        "ftype": name,
        "path": f"{product.replace(':', '/')}/{version}/{name}",
        "sha256": hashlib.sha256(str(number).encode()).hexdigest(),
        "size": 1024 * 1024,
    }

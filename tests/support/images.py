"""A mirror tree of system images, as LXD, Incus, virt-builder, Multipass and Juju want them."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from support.keys import SigningKey
from support.tree import SignedTree, random_blocks

IMAGES = "com.ubuntu.cloud:released:download"
PRODUCT = "com.ubuntu.cloud:server:24.04:amd64"
VERSION = "20260401"
_SIZES = {"lxd.tar.xz": 700, "incus.tar.xz": 600, "squashfs": 9000, "disk1.img": 12_000}


def image_tree(root: Path, key: SigningKey | None) -> SignedTree:
    """Build and publish a tree with two versions of one image."""
    tree = SignedTree(root, key)
    tree.document(IMAGES)["datatype"] = "image-downloads"
    attributes = {"arch": "amd64", "os": "ubuntu", "release": "noble", "release_title": "24.04 LTS"}
    tree.product(PRODUCT, IMAGES, aliases="24.04,noble,lts", version="24.04", supported=True, **attributes)
    for version in ("20260301", VERSION):
        data = {name: b"".join(random_blocks(f"{version}/{name}", size)) for name, size in _SIZES.items()}
        for name, content in data.items():
            fields: dict[str, Any] = {}
            if name in {"lxd.tar.xz", "incus.tar.xz"}:
                fields = {
                    "combined_squashfs_sha256": sha256(content + data["squashfs"]).hexdigest(),
                    "combined_disk1-img_sha256": sha256(content + data["disk1.img"]).hexdigest(),
                }
            path = f"releases/noble/{version}/{name}"
            tree.add_item(PRODUCT, version, name, path=path, data=content, content_id=IMAGES, **fields)
        tree.version(PRODUCT, version, IMAGES, pubname=f"ubuntu-noble-{version}", label="release")
    tree.publish()
    return tree

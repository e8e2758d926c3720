"""System images in the shape that LXD and Incus want: metadata and a root file system."""

from hashlib import sha256
from typing import Any

from support.tree import SignedTree, TreeItem, random_blocks

CONTENT_ID = "images"
PRODUCT = "testos:r1:amd64:default"
VERSION = "20250718_07:42"
_MIB = 1024 * 1024


def add_image(tree: SignedTree, release: str) -> list[TreeItem]:
    """Publish an image of a release."""
    product = PRODUCT.replace("r1", release)
    tree.document(CONTENT_ID)["datatype"] = "image-downloads"
    tree.product(
        product,
        CONTENT_ID,
        aliases=f"testos/{release},testos/{release}/default",
        arch="amd64",
        os="Testos",
        release=release,
        release_title=release,
        variant="default",
    )
    folder = f"images/testos/{release}/amd64/default/{VERSION}"
    blocks = {
        "lxd.tar.xz": b"".join(random_blocks(f"meta {release}", 3000)),
        "squashfs": b"".join(random_blocks(f"root {release}", 5 * _MIB)),
    }
    fingerprint = sha256(blocks["lxd.tar.xz"] + blocks["squashfs"]).hexdigest()
    combined: dict[str, Any] = {"combined_squashfs_sha256": fingerprint}
    files = {"lxd.tar.xz": "lxd.tar.xz", "squashfs": "rootfs.squashfs"}
    items = [
        tree.add_item(
            product,
            VERSION,
            ftype,
            path=f"{folder}/{files[ftype]}",
            data=data,
            content_id=CONTENT_ID,
            **(combined if ftype == "lxd.tar.xz" else {}),
        )
        for ftype, data in blocks.items()
    ]
    tree.publish()
    return items

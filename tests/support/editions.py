"""What the workers of one mirror serve, as the tests of its editions publish and read it."""

from support.generations import INDEX, LIST, PRODUCT, on_disk
from support.mirrors import Worker
from support.tree import SignedTree

CLIENT, OTHER_CLIENT = "192.0.2.1", "192.0.2.2"


def publish(tree: SignedTree, version: str) -> list[bytes]:
    """Publish the tree with one more version; return its index and list."""
    tree.add_item(PRODUCT, version, "squashfs")
    tree.publish()
    return on_disk(tree, INDEX, LIST)


async def documents(worker: Worker, client: str = CLIENT) -> list[bytes]:
    return [await worker.read(path, client) for path in (INDEX, LIST)]

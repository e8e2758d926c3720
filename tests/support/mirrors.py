"""One mirror's documents without a server: the real runtime, and what tests ask of its parts."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from proxy.documents.documents import Documents
from proxy.documents.editions import Editions
from proxy.documents.freshness import FreshnessPolicy
from proxy.documents.generation import Generation
from proxy.documents.mirror_records import MirrorRecords
from proxy.mirror import Mirror
from proxy.runtime import open_runtime
from proxy.store.storage import Storage
from support.running import MOUNT, Clock, make_config
from support.stored import recorded
from support.tree import SignedTree


class Worker:
    """One worker's view of a mirror that is named "test"."""

    def __init__(self, documents: Documents, storage: Storage) -> None:
        self.documents = documents
        self.storage = storage

    @property
    def editions(self) -> Editions:
        """What it has loaded."""
        return self.documents._editions

    @property
    def records(self) -> MirrorRecords:
        """What is recorded."""
        return self.documents._records

    async def check(self) -> Generation:
        """Check with the origins, and return what was accepted last."""
        await self.documents.checks.revalidate()
        assert self.editions.accepted is not None
        return self.editions.accepted.generation

    async def served(self) -> Generation:
        """Return what a client would be served now."""
        return (await self.documents.current()).generation

    async def read(self, path: str, client: str = "192.0.2.1") -> bytes:
        """Return what a client gets at a path."""
        found = await self.documents.find(path, client)
        assert found is not None
        data = await self.storage.threads.slow(self.storage.store.read, found[0].digest)
        assert data is not None
        return data

    async def record(self, key: str) -> object:
        """Return a record of the ledger."""
        return await self.storage.threads.ledger(recorded, self.storage.ledger, key)

    async def write(self, key: str, value: object) -> None:
        """Write a record, as another release might, or a disk that fails."""
        await self.storage.threads.ledger(self.storage.ledger.write, key, value)


def folder_mirror(tree: SignedTree, keyring: Path) -> Mirror:
    """Return a mirror whose origin is the folder of a tree."""
    return Mirror(name="test", mount=MOUNT, origins=(f"{tree.root.as_uri()}/",), keyring=str(keyring))


@contextlib.asynccontextmanager
async def open_worker(
    data_dir: Path, mirror: Mirror, clock: Clock, policy: FreshnessPolicy | None = None
) -> AsyncIterator[Worker]:
    """Open a worker's runtime."""
    changes = {} if policy is None else {"freshness": policy}
    async with open_runtime(make_config(data_dir, mirror, **changes), clock) as cache:
        yield Worker(cache._documents["test"], cache.storage)

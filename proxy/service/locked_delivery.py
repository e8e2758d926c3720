"""What clients get while a lockfile is served: exactly what it names, and nothing else.

Documents come from the lockfile itself, whatever was accepted meanwhile, and nobody is asked for
others. Items come from the store; one that is not there is fetched as usual, unless the proxy is
offline.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from proxy.digest import Digest
from proxy.documents.generation import Edition
from proxy.fills.bodies import MemoryBody, Opened, Outcome, StoredBody
from proxy.mirror import Mirror
from proxy.service.beyond_lock import BeyondLock
from proxy.service.delivery import Delivery
from proxy.service.locked import Verified
from proxy.service.target import NotLocked, Target
from proxy.simplestreams.model import Item
from proxy.simplestreams.paths import PathError, canonical_path, unescaped


@dataclass(slots=True)
class LockedFiles:
    """What is served of one mirror, by path."""

    documents: dict[str, tuple[Item, Edition]] = field(default_factory=dict)
    items: dict[str, Item] = field(default_factory=dict)

    def add(self, one: Verified) -> None:
        """Add what is proved of a generation; what an older one has at the same path gives way."""
        self.documents |= {item.path: (item, one.edition) for item in one.documents}
        self.items |= {item.path: item for item in one.items}


class LockedDelivery(Delivery):
    """Resolves paths by a lockfile."""

    _locked: Mapping[str, LockedFiles]
    _data: Mapping[Digest, bytes]
    _beyond: BeyondLock

    def lock(
        self,
        lockfile: str,
        locked: Mapping[str, LockedFiles],
        data: Mapping[Digest, bytes],
        beyond: BeyondLock,
    ) -> None:
        """Serve what is locked of each mirror; `data` has the bytes of the documents.

        `beyond` is told what else is asked for.
        """
        self.lockfile = lockfile
        self._locked = locked
        self._data = data
        self._beyond = beyond

    async def resolve(self, mirror: Mirror, url_path: str, client: str) -> Target:  # noqa: ARG002
        """Say what `url_path` names in the lockfile. Raises NotLocked."""
        try:
            return self._find(mirror, url_path)
        except NotLocked as error:
            self._beyond.met(mirror.name, error.path)
            raise

    def _find(self, mirror: Mirror, url_path: str) -> Target:
        try:
            path = canonical_path(url_path)
        except PathError as error:
            raise NotLocked(mirror.name, url_path, f"the lockfile that is served: {error}") from None
        files = self._locked[mirror.name]
        document = files.documents.get(path)
        if document is not None:
            item, edition = document
            return Target(mirror=mirror, item=item, edition=edition)
        found = files.items.get(path) or files.items.get(unescaped(path))
        if found is None:
            raise NotLocked(mirror.name, path, self.lockfile)
        return Target(mirror=mirror, item=found)

    def has_nothing(self, mirror: Mirror) -> bool:  # noqa: ARG002
        """Say that there is something to be served of each mirror."""
        return False

    def currency(self, target: Target) -> Callable[[str], bool]:  # noqa: ARG002
        """Say that a target stays what it is."""
        return lambda _: True

    async def open(self, target: Target, client: str) -> Opened:
        """Return the bytes of a target: of a document also if the store has lost it."""
        item = target.item
        if not target.is_document:
            return await super().open(target, client)
        blob = self._storage.store.open(item.digest, item.size_bytes)
        if blob is None:
            return Opened(MemoryBody(self._data[item.digest]), Outcome.HIT)
        return Opened(StoredBody(blob, self._storage.threads), Outcome.HIT)

"""What clients get: what a path names, and its bytes, from the store or from upstream."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial

from proxy.digest import Digest
from proxy.documents.documents import Documents, NoGeneration
from proxy.fills.bodies import MemoryBody, Opened, Outcome, StoredBody
from proxy.fills.flights import Flights
from proxy.fills.opening import Opening
from proxy.mirror import Mirror
from proxy.service.by_sha512 import BySha512
from proxy.service.shared import Shared
from proxy.service.target import (
    DocumentLost,
    ListBroken,
    ListRefused,
    NothingKnown,
    NotListed,
    OfflineMiss,
    Target,
)
from proxy.service.usage import UsageNotes
from proxy.simplestreams.model import Item
from proxy.simplestreams.paths import PathError, canonical_path, unescaped
from proxy.sources.document import Validators
from proxy.sources.errors import ItemAbsent, OriginError, OriginLoops
from proxy.sources.offline import OfflineSwitch
from proxy.sources.origin import Origin
from proxy.store.storage import Storage

_METADATA = "streams/"
"""Where documents live; everything else in a mirror is an item."""
_INDEXES = ("streams/v1/index.sjson", "streams/v1/index.json")
"""What clients try in wrong places too, and never the name of an item."""


class Delivery:
    """Resolves the paths that clients ask for, and opens what they name."""

    lockfile = ""
    """Which lockfile says what is served, in words; none does here."""

    def __init__(
        self,
        documents: Mapping[str, Documents],
        flights: Flights,
        storage: Storage,
        usage: UsageNotes,
        offline: OfflineSwitch,
        clock: Callable[[], float],
    ) -> None:
        self._documents = documents
        self._flights = flights
        self._storage = storage
        self._usage = usage
        self._offline = offline
        self._clock = clock
        self._by_sha512 = BySha512(storage, offline)
        self._lost = Shared[Digest, bytes | None]()
        """Documents that are fetched past the store: each is held in memory, so once for all."""

    async def resolve(self, mirror: Mirror, url_path: str, client: str) -> Target:
        """Say what `url_path`, as the client wrote it below the mount, names.

        Raises NotListed, ListRefused, NoGeneration or NothingKnown, and what `BySha512.find` raises.
        """
        try:
            path = canonical_path(url_path)
        except PathError as error:
            raise NotListed(mirror.name, url_path, str(error)) from None
        documents = self._documents[mirror.name]
        try:
            found = await documents.find(path, client)
        except NoGeneration as error:
            if path.startswith(_METADATA):
                raise
            if path.endswith(_INDEXES):
                raise NotListed(mirror.name, path, "its index is streams/v1/index.sjson") from None
            raise NothingKnown(mirror.name, error.reason) from None
        if found is not None:
            item, edition = found
            return Target(
                mirror=mirror,
                item=item,
                edition=edition,
                age_s=max(0.0, self._clock() - edition.generation.checked_at),
                is_stale=documents.is_stale(edition),
            )
        # Some clients escape what a list has escaped already.
        listed = documents.find_item(path) or documents.find_item(unescaped(path))
        if listed is not None:
            return Target(mirror=mirror, item=listed)
        refusal = documents.refusal(path)
        if refusal is not None:
            raise (ListBroken if refusal.is_broken else ListRefused)(refusal.why)
        why = "no verified list names it"
        if documents.is_unverifiable(path):
            proved = await self._by_sha512.find(mirror.name, documents, path)
            if proved is not None:
                return Target(mirror=mirror, item=proved)
            why = "its list gives no sha256 and size to verify it with, nor a sha512"
        raise NotListed(mirror.name, path, why)

    def has_nothing(self, mirror: Mirror) -> bool:
        """Whether nothing of a mirror can be served yet, so that whoever asks would wait for its origins."""
        return self._documents[mirror.name].are_none

    async def leads_back(self, mirror: Mirror) -> bool:
        """Whether an origin of a mirror says that the request which is answered here came through it."""
        origins = self._documents[mirror.name].route.order()
        return any(await asyncio.gather(*map(_leads_back, origins)))

    def currency(self, target: Target) -> Callable[[str], bool]:
        """Return what says of a client whether `resolve` would name it the same target now.

        Asking does what `resolve` does for a client that reads an index. A moment ago it was the same.
        """
        return self._documents[target.mirror.name].currency(target.item, target.edition)

    def holds(self, target: Target) -> bool:
        """Whether a target's blob is in the store."""
        return self._storage.store.has(target.item.digest)

    def note_use(self, target: Target) -> None:
        """Note that a target's blob is in use."""
        self._usage.note(target.item.digest, self._clock())

    async def open(self, target: Target, client: str) -> Opened:
        """Return the bytes of a target for a client, from the store or from upstream.

        Returns as soon as there is a first byte to send. Raises OfflineMiss,
        NoGeneration, ItemAbsent, BadItem, ItemUnobtainable or TooManyTransfers.
        """
        item = target.item
        blob = self._storage.store.open(item.digest, item.size_bytes)
        if blob is not None:
            self._usage.note(item.digest, self._clock())
            return Opened(
                StoredBody(blob, self._storage.threads), Outcome.STALE if target.is_stale else Outcome.HIT
            )
        documents = self._documents[target.mirror.name]
        if self._offline.is_on:
            raise OfflineMiss(item.path)
        if target.edition is not None:
            return await self._reopen_document(documents, item)
        try:
            return await Opening(self._flights, item, documents.route, client).open()
        except ItemAbsent:
            documents.checks.check_soon()
            raise

    async def _reopen_document(self, documents: Documents, item: Item) -> Opened:
        """Open a document that the store has lost, once it was fetched again; past the store if need be."""
        await documents.checks.check_briefly()
        blob = self._storage.store.open(item.digest, item.size_bytes)
        if blob is not None:
            return Opened(StoredBody(blob, self._storage.threads), Outcome.MISS)
        data = await self._lost.get(item.digest, partial(documents.fetch_again, item))
        if data is None:
            raise DocumentLost(item.path)
        return Opened(MemoryBody(data), Outcome.BYPASS)


async def _leads_back(origin: Origin) -> bool:
    try:
        await origin.fetch(_INDEXES[0], Validators())
    except OriginLoops:
        return True
    except OriginError:
        pass
    return False

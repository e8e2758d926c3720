"""The cache as the web face and the jobs see it: resolve a path, open what it names."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from proxy.digest import Digest
from proxy.documents.documents import Documents, NoGeneration
from proxy.documents.generation import Edition, Generation
from proxy.documents.reading import Reading
from proxy.errors import ProxyError
from proxy.fills.bodies import MemoryBody, StoredBody
from proxy.fills.flights import Flights, Opened, Outcome
from proxy.fills.pace import Pace
from proxy.mirror import Mirror
from proxy.service.shared import Shared
from proxy.service.usage import UsageNotes
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.paths import PathError, canonical_path, unescaped
from proxy.sources.offline import OfflineSwitch
from proxy.sources.pull import ItemAbsent
from proxy.store.storage import Storage

_METADATA = "streams/"
"""Where documents live; everything else in a mirror is an item."""
_INDEXES = ("streams/v1/index.sjson", "streams/v1/index.json")
"""What clients try in wrong places too, and never the name of an item."""


class NotListed(ProxyError):
    """A path that no verified list names."""

    def __init__(self, mirror: str, path: str, why: str) -> None:
        super().__init__(f"mirror {mirror} does not serve {path!r:.200}: {why}")
        self.mirror = mirror
        self.path = path


class NothingKnown(ProxyError):
    """A path that may be an item, of a mirror that has no lists yet to tell."""

    def __init__(self, mirror: str, reason: str) -> None:
        super().__init__(f"mirror {mirror} has no verified lists yet to say what this is: {reason}")
        self.mirror = mirror


class ListRefused(ProxyError):
    """A list that upstream has and that could not be verified, or that it refuses."""


class ListBroken(ProxyError):
    """A list that upstream did not deliver, or not whole."""


class DocumentLost(ProxyError):
    """A document that was accepted, and whose file the store has lost or cannot read."""

    def __init__(self, path: str) -> None:
        super().__init__(f"the store has lost {path}; it is being fetched again")
        self.path = path


class OfflineMiss(ProxyError):
    """An item that is not in the store while the proxy is offline."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not in the cache, and the proxy is offline")
        self.path = path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a path names: known before any of its bytes are."""

    mirror: Mirror
    item: Item
    edition: Edition | None = None
    """The generation that a document belongs to; None for items."""
    age_s: float = 0.0
    """Seconds since an origin last confirmed a document."""
    is_stale: bool = False

    @property
    def is_document(self) -> bool:
        """Whether this is an index or list, not an item."""
        return self.edition is not None


class Cache:
    """Joins the mirrors' documents, the store and upstream."""

    def __init__(
        self,
        documents: Mapping[str, Documents],
        reading: Reading,
        storage: Storage,
        usage: UsageNotes,
        flights: Flights,
        clock: Callable[[], float],
        offline: OfflineSwitch,
    ) -> None:
        self._documents = documents
        self.reading = reading
        self.storage = storage
        self._usage = usage
        self._flights = flights
        self._lost = Shared[Digest, bytes | None]()
        """Documents that are fetched past the store: each is held in memory, so once for all."""
        self.offline = offline
        self._clock = clock

    async def resolve(self, mirror: Mirror, url_path: str, client: str) -> Target:
        """Say what `url_path`, as the client wrote it below the mount, names.

        Raises NotListed, ListRefused, NoGeneration or NothingKnown.
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
            why = "its list gives no sha256 and size to verify it with"
        raise NotListed(mirror.name, path, why)

    def currency(self, target: Target) -> Callable[[str], bool]:
        """Return what says of a client whether `resolve` would name it the same target now.

        Asking does what `resolve` does for a client that reads an index. A moment ago it was the same.
        """
        return self._documents[target.mirror.name].currency(target.item, target.edition)

    def holds(self, target: Target) -> bool:
        """Whether a target's blob is in the store."""
        return self.storage.store.has(target.item.digest)

    def note_use(self, target: Target) -> None:
        """Note that a target's blob is in use."""
        self._usage.note(target.item.digest, self._clock())

    async def open(self, target: Target, client: str) -> Opened:
        """Return the bytes of a target for a client, from the store or from upstream.

        Returns as soon as there is a first byte to send. Raises OfflineMiss,
        NoGeneration, ItemAbsent, BadItem, ItemUnobtainable or Crowded.
        """
        item = target.item
        blob = self.storage.store.open(item.digest, item.size_bytes)
        if blob is not None:
            self._usage.note(item.digest, self._clock())
            return Opened(
                StoredBody(blob, self.storage.threads), Outcome.STALE if target.is_stale else Outcome.HIT
            )
        documents = self._documents[target.mirror.name]
        if self.offline.is_on:
            raise OfflineMiss(item.path)
        if target.edition is not None:
            return await self._reopen_document(documents, item)
        try:
            return await self._flights.open(item, documents.route, client)
        except ItemAbsent:
            documents.doubt()
            raise

    async def _reopen_document(self, documents: Documents, item: Item) -> Opened:
        """Open a document that the store has lost, once it was fetched again; past the store if need be."""
        await documents.ask_briefly()
        blob = self.storage.store.open(item.digest, item.size_bytes)
        if blob is not None:
            return Opened(StoredBody(blob, self.storage.threads), Outcome.MISS)
        data = await self._lost.get(item.digest, partial(documents.fetch_again, item))
        if data is None:
            raise DocumentLost(item.path)
        return Opened(MemoryBody(data), Outcome.BYPASS)

    async def refresh(self, mirror: str, *, accept_older: bool = False) -> str | None:
        """Check a mirror with its origins now; return why they did not confirm its lists, or None.

        `accept_older` has what they publish replace what is served though it is older, this once.
        """
        return await self._documents[mirror].confirm(accept_older=accept_older)

    async def refresh_all_flavours(self, mirror: str) -> str | None:
        """Check a mirror with its origins now, as `refresh` does, plain flavours of its documents included.

        LXD and Juju read those; whoever warms the cache does not know who will come.
        """
        await self._documents[mirror].add_plain_flavours()
        return await self.refresh(mirror)

    def wake(self, mirror: str) -> None:
        """Have a mirror checked soon, without waiting for it."""
        self._documents[mirror].doubt()

    async def recorded(self, mirror: str) -> Generation | None:
        """Return what may be served of the generation accepted last, even if its documents are lost."""
        return await self._documents[mirror].recorded()

    def unproved(self, mirror: str) -> str:
        """Return why nothing of the generation accepted last may be served, "" when something may."""
        return self._documents[mirror].unproved()

    async def edition(self, mirror: str) -> Edition:
        """Return a mirror's current edition. Raises NoGeneration."""
        return await self._documents[mirror].current()

    async def lists(self, mirror: str) -> tuple[Edition, list[Products]]:
        """Return a mirror's current edition and its products lists in full. Raises NoGeneration."""
        return await self._documents[mirror].lists()

    @property
    def mirrors(self) -> tuple[str, ...]:
        """The names of all mirrors."""
        return tuple(self._documents)

    @property
    def background(self) -> Pace:
        """The pace of fills that no client waits for."""
        return self._flights.background

    def ensure(self, mirror: str, item: Item, pace: Pace | None = None) -> AsyncGenerator[int, None]:
        """Bring an item into the store with nobody waiting; yields how many bytes of it are here.

        `pace` is the background's unless given. Raises OfflineMiss, ItemAbsent,
        BadItem, ItemUnobtainable or StoreFault.
        """
        if self.offline.is_on and not self.storage.store.has(item.digest):
            raise OfflineMiss(item.path)
        return self._flights.ensure(item, self._documents[mirror].route, pace)

    def find_digest(self, digest: Digest) -> tuple[str, Item, bool] | None:
        """Return where a blob could be had again: a mirror, what it is there, whether a document."""
        for name, documents in self._documents.items():
            found = documents.find_digest(digest)
            if found is not None:
                return name, *found
        return None

    async def knows_all_lists(self) -> bool:
        """Whether `find_digest` knows all that is listed: no mirror's lists are lost."""
        return all([await documents.knows_what_it_lists() for documents in self._documents.values()])

    async def status(self) -> dict[str, Any]:
        """Return the state of every mirror as JSON values."""
        return {name: await documents.status() for name, documents in self._documents.items()}

"""The cache as jobs and reporting see it: its mirrors by name, what they list, and what is stored."""

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

from proxy.bundles.lockfile import Lockfile, not_here
from proxy.digest import Digest
from proxy.documents.documents import Documents
from proxy.documents.generation import Edition, Generation
from proxy.documents.reading import Reading
from proxy.fills.first_bytes import FirstBytes
from proxy.fills.flights import Flights
from proxy.fills.pace import Pace
from proxy.recordings.recorder import Recorder
from proxy.service.delivery import Delivery
from proxy.service.locked import LockRefused, Verified, verified
from proxy.service.target import OfflineMiss
from proxy.simplestreams.model import Item, Products
from proxy.sources.loops import Loops
from proxy.sources.offline import OfflineSwitch
from proxy.sources.origin import Origin
from proxy.store.storage import Storage


class Cache:
    """Joins the mirrors' documents, the fills and the store."""

    def __init__(
        self,
        documents: Mapping[str, Documents],
        reading: Reading,
        storage: Storage,
        flights: Flights,
        offline: OfflineSwitch,
        delivery: Delivery,
        loops: Loops,
        recorder: Recorder,
    ) -> None:
        self._documents = documents
        self._flights = flights
        self.reading = reading
        self.storage = storage
        self.offline = offline
        self.delivery = delivery
        """What clients get."""
        self.loops = loops
        """Which requests must not be fetched for."""
        self.recorder = recorder
        """Notes what clients ask for, while somebody wants that recorded."""

    @property
    def first_bytes(self) -> FirstBytes:
        """Says to threads that hash much when they are to rest."""
        return self._flights.facilities.first_bytes

    async def refresh(self, mirror: str, *, accept_older: bool = False) -> str | None:
        """Check a mirror with its origins now; return why they did not confirm its lists, or None.

        `accept_older` has what they publish replace what is served though it is older, this once.
        """
        return await self._documents[mirror].checks.confirm(accept_older=accept_older)

    async def refresh_all_flavours(self, mirror: str) -> str | None:
        """Check a mirror with its origins now, as `refresh` does, plain flavours of its documents included.

        LXD and Juju read those; whoever warms the cache does not know who will come.
        """
        await self._documents[mirror].add_plain_flavours()
        return await self.refresh(mirror)

    async def examine(
        self,
        mirror: str,
        origin: Origin | None = None,
        flavours_of: Collection[str] = (),
        *,
        accept_older: bool = False,
    ) -> Edition:
        """Return what an origin publishes of a mirror, verified as by `refresh`, and accept nothing.

        It is the mirror's first one unless given.
        Flavours of documents that are among these paths are fetched from now on. Raises RollbackError
        for what is older than what was accepted, and whatever else keeps it from being accepted.
        """
        await self._documents[mirror].add_flavours_of(flavours_of)
        asked = origin or self._documents[mirror].route.order()[0]
        return await self._documents[mirror].checks.examine(asked, accept_older=accept_older)

    def wake(self, mirror: str) -> None:
        """Have a mirror checked soon, without waiting for it."""
        self._documents[mirror].checks.check_soon()

    async def recorded(self, mirror: str) -> Generation | None:
        """Return what may be served of the generation to serve, even if its documents are lost."""
        return await self._documents[mirror].recorded()

    def why_unverified(self, mirror: str) -> str:
        """Return why nothing of the generation to serve may be served, "" when something may."""
        return self._documents[mirror].why_unverified()

    async def verify(self, lockfile: Lockfile) -> tuple[Verified, ...]:
        """Return what is proved of a lockfile, generation by generation; its documents are in the store then.

        Nothing is accepted. Raises LockRefused when it is of a mirror that is not here, or when an index
        cannot be verified.
        """
        for mirror in lockfile.mirrors:
            if mirror not in self._documents:
                raise LockRefused(f"the lockfile {not_here(mirror, self._documents)}")
        return tuple(
            [
                await verified(self._documents[one.contents.mirror], one, lockfile.data)
                for one in lockfile.locked
            ]
        )

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
        if self.is_offline(mirror) and not self.storage.store.has(item.digest):
            raise OfflineMiss(item.path)
        return self._flights.ensure(item, self._documents[mirror].route, pace)

    def is_offline(self, mirror: str) -> bool:
        """Whether the proxy is offline, and the origins of this mirror may not be asked either."""
        return self.offline.is_on and self._documents[mirror].is_offline

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

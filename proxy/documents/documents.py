"""The documents of one mirror, as clients get them.

A request comes here first: which edition is served, what a path names in it, or in one
replaced lately. What keeps that current is the business of `checks.py`.
"""

import contextlib
from collections.abc import Callable, Collection
from typing import Any

from proxy.digest import Digest, digest_of
from proxy.documents.assembling import Assembler
from proxy.documents.checks import Checks
from proxy.documents.currency import Currency
from proxy.documents.editions import Editions
from proxy.documents.flavours import FLAVOURS, INDEX_PATHS, PLAIN_SUFFIX, SIGNED_FLAVOURS, flavour_of
from proxy.documents.freshness import FreshnessPolicy, Verdict, decide
from proxy.documents.generation import Edition, Generation, GenerationLost
from proxy.documents.loaded import Readers
from proxy.documents.mirror_records import MirrorRecords
from proxy.documents.mirror_status import Refusal, mirror_status, refusal
from proxy.documents.origin_check import OriginCheck
from proxy.documents.shared_facts import SharedFacts
from proxy.errors import ProxyError
from proxy.mirror import Mirror, Trust
from proxy.simplestreams.listing import ListingDamaged
from proxy.simplestreams.model import Item, Products
from proxy.sources.document import FetchOptions, Validators
from proxy.sources.errors import OriginError
from proxy.sources.freshness import Freshness
from proxy.sources.offline import Offline
from proxy.sources.origin import DocumentSource, Origin
from proxy.sources.route import Route
from proxy.store.files import StoreFault

_METADATA = "streams/"


class NoGeneration(ProxyError):
    """A mirror of which no verified generation exists yet."""

    def __init__(self, mirror: str, reason: str) -> None:
        super().__init__(f"mirror {mirror} has no verified documents yet: {reason}")
        self.mirror = mirror
        self.reason = reason


class FlavourUnknown(ProxyError):
    """A flavour of a document that upstream may have, while upstream does not answer."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} cannot be asked for now: {reason}")
        self.path = path


class Documents:
    """What one mirror serves."""

    def __init__(
        self,
        mirror: Mirror,
        route: Route,
        assembler: Assembler,
        records: MirrorRecords,
        shared: SharedFacts,
        policy: FreshnessPolicy,
        clock: Callable[[], float],
        offline: Offline,
    ) -> None:
        self.mirror = mirror
        self.route = route
        self._assembler = assembler
        self._records = records
        self._shared = shared
        self._policy = policy
        self._clock = clock
        self._offline = offline
        self._knows_flavours = False
        self._editions = Editions(mirror.name, records, shared, policy.retain_s, clock)
        self._readers = Readers(self._editions.loaded, shared, clock)
        self._currency = Currency(self._editions, self._readers, offline)
        check = OriginCheck(mirror.name, route, assembler, records, self._editions, policy, clock)
        self.checks = Checks(mirror.name, check, self._editions, shared, policy, clock, offline)

    @property
    def are_none(self) -> bool:
        """Whether nothing can be served yet, as far as this worker knows."""
        return self._editions.served is None

    @property
    def is_offline(self) -> bool:
        """Whether the origins may not be asked now."""
        return self._offline.is_on

    # What a path names

    async def current(self) -> Edition:
        """Return the edition to serve now; wait for the first one if there is none.

        Raises NoGeneration when none can be had.
        """
        await self._editions.adopt_announced()
        self.checks.begin_if_due()
        if self._editions.served is None:
            await self.checks.wait_for_first()
        if self._editions.served is None:
            raise NoGeneration(self.mirror.name, self.checks.reason())
        return self._editions.served

    async def find(self, path: str, client: str) -> tuple[Item, Edition] | None:
        """Return the document at `path` and its edition, None when the mirror has none there.

        A client that just read an index gets the lists that belong to it, even
        when a newer generation has arrived in between.
        """
        await self._expect_plain_flavours(path)
        current = await self.current()
        if not self._editions.loaded.may_be_document(path):
            return None  # As nearly all paths that clients ask for.
        if path in INDEX_PATHS:
            self._readers.note(client, current)
            belonging = current
        else:
            belonging = self._readers.edition_of(client) or current
        for edition in (belonging, current):
            item = edition.document(path)
            if item is not None:
                return item, edition
        return await self._add_flavour(path) or self._replaced_document(path, current.generation)

    async def _expect_plain_flavours(self, path: str) -> None:
        """Have the first check bring what a client asks for that has nothing yet, in one go."""
        if self._knows_flavours or not path.startswith(_METADATA) or not path.endswith(PLAIN_SUFFIX):
            return
        self._knows_flavours = True
        await self._editions.adopt_announced()
        if self._editions.served is None and self.mirror.trust is Trust.GPG:
            with contextlib.suppress(ProxyError):  # Without its ledger they come after the first check.
                await self._records.add_flavours(PLAIN_SUFFIX)

    def find_item(self, path: str) -> Item | None:
        """Return a listed item: of the served edition, or of one replaced lately. Raises ListingDamaged."""
        try:
            return self._editions.loaded.item(path)
        except ListingDamaged:
            self._editions.drop_damaged()
            raise

    def naming(self, item: Item) -> Edition | None:
        """Return the newest edition that names an item, None when none does. Raises ListingDamaged."""
        return self._editions.loaded.naming(item)

    def refusal(self, path: str) -> Refusal | None:
        """Return why the served generation has to do without a list or flavour, None when it has not."""
        return None if self._generation is None else refusal(path, self._generation)

    def is_unverifiable(self, path: str) -> bool:
        """Whether a list names `path` without anything to verify it with."""
        return self._editions.served is not None and self._editions.served.catalog.is_unverifiable(path)

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        return self._editions.find_digest(digest)

    async def fetch_again(self, document: Item) -> bytes | None:
        """Return the bytes of a document that the store has lost, None if no origin has them any more."""
        for origin in self.route.order():
            with contextlib.suppress(OriginError):
                fetched = await origin.fetch(document.path, Validators(), FetchOptions(Freshness.ANEW))
                if fetched is not None and digest_of(fetched.data) == document.digest:
                    return fetched.data
        return None

    # How current that is

    def currency(self, item: Item, edition: Edition | None) -> Callable[[str], bool]:
        """Return what says whether a client that asks for a document or an item is to get this now."""
        return (
            self._currency.of_item(item)
            if edition is None
            else self._currency.of_document(item.path, edition)
        )

    def is_stale(self, edition: Edition) -> bool:
        """Whether an edition was confirmed longer ago than the policy likes."""
        checked_at = edition.generation.checked_at
        return decide(checked_at, self._clock(), self._policy) is not Verdict.FRESH

    # All of it

    async def lists(self) -> tuple[Edition, list[Products]]:
        """Return the served edition and its products lists in full. Raises NoGeneration."""
        edition = await self.current()
        try:
            return edition, await self._records.lists(edition.generation)
        except GenerationLost as error:
            self.checks.check_soon()
            raise NoGeneration(self.mirror.name, str(error)) from error

    async def vet(self, origin: Origin, flavours_of: Collection[str]) -> Edition:
        """Return what an origin publishes, verified by the keys of now and put into the store.

        Nothing of it is accepted or served, and it may be older than what is. Flavours of documents
        that are among these paths come with it. Raises what `Assembler.assemble` raises, and GenerationLost.
        """
        flavours = frozenset(self._flavours_among(flavours_of))
        draft = await self._assembler.assemble(DocumentSource(origin, FetchOptions()), None, flavours)
        generation = draft.accepted(0, self._records.keyring_identity, self._clock(), None)
        return await self._records.load(generation)

    def fix(self, edition: Edition) -> None:
        """Serve an edition here for as long as this process lives, whatever is accepted meanwhile."""
        self._editions.fix(edition)

    async def recorded(self) -> Generation | None:
        """Return what may be served of the generation to serve, whether or not it is still in the store."""
        return await self._records.served()

    def why_unverified(self) -> str:
        """Return why the generation to serve may not be served, "" when it may be."""
        return self._records.why_unverified()

    async def knows_what_it_lists(self) -> bool:
        """Whether its lists are loaded, or there have never been any; not when they are lost."""
        await self._editions.adopt_announced()
        if not self._editions.knows_replaced:
            return False
        return self._editions.served is not None or (await self._records.recorded()).is_nothing

    async def add_plain_flavours(self) -> None:
        """From the next check on, fetch plain flavours of the documents too."""
        await self._records.add_flavours(PLAIN_SUFFIX)

    async def add_flavours_of(self, paths: Collection[str]) -> None:
        """From the next check on, fetch the flavours too that are among these documents."""
        found = self._flavours_among(paths)
        if found:
            await self._records.add_flavours(*found)

    async def status(self) -> dict[str, Any]:
        """Return the mirror's state as JSON values, the same from every worker."""
        await self._editions.adopt_announced()
        trouble = self.checks.trouble
        with contextlib.suppress(StoreFault):
            trouble = await self._records.trouble()
        edition = self._editions.served
        is_stale = edition is not None and self.is_stale(edition)
        status = {
            "origins": [origin.name for origin in self.route.order()],
            "trust": self.mirror.trust.value,
            **mirror_status(self._generation, trouble, self._clock(), is_stale=is_stale),
        }
        if edition is not None:
            status |= await self._records.figures(edition)
        return status

    async def close(self) -> None:
        """Stop what runs in the background."""
        await self.checks.close()
        await self._editions.close()
        self._shared.close()

    def _flavours_among(self, paths: Collection[str]) -> list[str]:
        suffixes = SIGNED_FLAVOURS if self.mirror.trust is Trust.TLS else FLAVOURS
        return [suffix for suffix in suffixes if any(path.endswith(suffix) for path in paths)]

    @property
    def _generation(self) -> Generation | None:
        edition = self._editions.served
        return None if edition is None else edition.generation

    async def _add_flavour(self, path: str) -> tuple[Item, Edition] | None:
        """Fetch, from now on, a flavour that somebody asks for the first time; return it if there is one.

        Raises FlavourUnknown when no origin could say whether there is.
        """
        generation = self._generation
        suffix = None if generation is None else flavour_of(path, generation)
        if suffix is None or generation is None or self._offline.is_on:
            return None
        if path in generation.absent or path in generation.refused:
            return None
        await self._records.add_flavours(suffix, PLAIN_SUFFIX)
        await self.checks.check_briefly()
        edition = self._editions.served
        item = None if edition is None else edition.document(path)
        if edition is not None and item is not None:
            return item, edition
        if self.checks.trouble.failures or self.checks.running is not None:
            raise FlavourUnknown(path, self.checks.reason())
        return None

    def _replaced_document(self, path: str, current: Generation) -> tuple[Item, Edition] | None:
        """Return a list that left the index lately. Nothing else outlives its generation."""
        if path in INDEX_PATHS or flavour_of(path, current) is not None:
            return None
        return self._editions.loaded.replaced_document(path)

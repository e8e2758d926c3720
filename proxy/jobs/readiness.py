"""The proof that a selection can be served with upstream gone."""

from collections.abc import Iterable
from dataclasses import dataclass

from proxy.bundles.lockfile import Lockfile
from proxy.documents.mirror_status import lists_in_trouble
from proxy.jobs.plan import Wanted
from proxy.jobs.proving import problems
from proxy.service.cache import Cache
from proxy.store.protocols import ReadStore


@dataclass(frozen=True, slots=True)
class Flaw:
    """A document or item that is not here as it should be."""

    mirror: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True)
class ReadinessReport:
    """How many files were looked at, and what is wrong with some."""

    files: int
    flaws: tuple[Flaw, ...]
    unknown: tuple[str, ...] = ()
    """Names that were asked for and that nothing in the lists has."""
    waiting: tuple[str, ...] = ()
    """Newer generations that were imported and are not served yet, in words."""

    @property
    def is_good(self) -> bool:
        """Whether everything that was asked for is here as it should be."""
        return not self.flaws and not self.unknown


async def inspect_documents(cache: Cache, mirror: str, *, deep: bool) -> ReadinessReport:
    """Look at the index and lists of a mirror's current generation, as published and as read."""
    generation = await cache.recorded(mirror)
    if generation is None:
        why = cache.why_unverified(mirror)
        problem = f"is not served: {why}" if why else "was never fetched"
        return ReadinessReport(0, (Flaw(mirror, "streams/v1/index.sjson", problem),))
    store: ReadStore = cache.storage.store
    documents = [Wanted(mirror, document.item) for document in generation.documents.values()]
    published = await inspect_items(cache, documents, deep=deep)
    known = {flaw.path for flaw in published.flaws}
    lost = [
        Flaw(mirror, document.path, "has lost its verified text")
        for document in generation.documents.values()
        if document.path not in known and await cache.storage.threads.slow(store.read, document.text) is None
    ]
    lacking = [
        Flaw(mirror, path, f"is not here: {why}") for path, why in lists_in_trouble(generation).items()
    ]
    return ReadinessReport(published.files, (*published.flaws, *lost, *lacking))


async def inspect_lock(cache: Cache, lockfile: Lockfile, *, deep: bool) -> ReadinessReport:
    """Look at what a lockfile names: whether it is proved, and the items here. Raises LockRefused.

    It brings its documents itself.
    """
    found = await cache.verify(lockfile)
    wanted = [Wanted(one.mirror, item) for one in found for item in one.items]
    items = await inspect_items(cache, wanted, deep=deep)
    unproved = tuple(Flaw(flaw.mirror, flaw.path, flaw.problem) for one in found for flaw in one.flaws)
    files = items.files + sum(len(one.documents) for one in found)
    return ReadinessReport(files, (*unproved, *items.flaws))


async def inspect_items(cache: Cache, wanted: Iterable[Wanted], *, deep: bool) -> ReadinessReport:
    """Look at files in the store.

    Each counts as good if it was hashed lately and its file not touched since;
    otherwise, or if `deep`, it is hashed again.
    """
    files = {(one.mirror, one.item.path): one for one in wanted}.values()
    blobs = {one.item.digest: one.item.size_bytes for one in files}
    found = await problems(cache.storage, blobs, deep=deep)
    flaws = [
        Flaw(one.mirror, one.item.path, found[one.item.digest]) for one in files if one.item.digest in found
    ]
    return ReadinessReport(len(files), tuple(flaws))

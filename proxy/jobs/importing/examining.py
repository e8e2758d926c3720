"""Verifying a bundle before any item of it is taken: who vouches for it, its documents, what these name.

Documents are verified exactly as if they were fetched: by the mirror's keyring, and against what was
accepted before. Items may be taken if a list that counts here names them.
"""

import contextlib
from dataclasses import dataclass, field

from proxy.bundles.contents import Contents, File
from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import MediumFault
from proxy.digest import Digest
from proxy.documents.documents import NoGeneration
from proxy.documents.generation import Edition, Generation
from proxy.documents.rollback import AnotherStream, RollbackError
from proxy.errors import ProxyError
from proxy.jobs.importing.activating import Activation
from proxy.jobs.importing.bundles import Bundle, CarriedDocuments
from proxy.jobs.importing.outcomes import State
from proxy.jobs.importing.trust import Operators, SignatureRefused, Vouched
from proxy.service.cache import Cache
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault

_MOST_TOLD = 3


class NotTaken(ProxyError):
    """A bundle of which nothing may be taken, and what has become of it."""

    def __init__(self, state: State, why: str, missing: tuple[File, ...] = ()) -> None:
        super().__init__(why)
        self.state = state
        self.missing = missing


@dataclass(slots=True)
class Examined:
    """A bundle of which something may be taken."""

    bundle: Bundle
    vouched: Vouched | None
    """Who signed it besides upstream."""
    edition: Edition | None = None
    """What it would serve; None for one that is too old."""
    too_old: str = ""
    """Why it is, in words."""
    wanted: dict[Digest, Item] = field(default_factory=dict)
    """The items of it that lists name which count here."""
    unprovable: list[str] = field(default_factory=list)
    """Items that the lists name without saying what proves them."""
    mislabelled: list[str] = field(default_factory=list)
    """Items that the lists do not name as the bundle does."""


class Examiner:
    """Examines the bundles of one import."""

    def __init__(
        self, cache: Cache, operators: Operators, activation: Activation, *, accepts_older: bool
    ) -> None:
        self._cache = cache
        self._store = cache.storage.store
        self._threads = cache.storage.threads
        self._operators = operators
        self._activation = activation
        self._accepts_older = accepts_older

    async def examine(self, bundle: Bundle) -> Examined:
        """Return what may be taken of a bundle. Raises NotTaken, and StoreFault."""
        try:
            examined = Examined(bundle, await self._threads.slow(self._operators.vouched, bundle))
            lacking = await self._threads.slow(self._documents_missing, bundle)
        except (SignatureRefused, LayoutUnreadable) as error:
            raise NotTaken(State.REFUSED, str(error)) from error
        except MediumFault as error:
            raise NotTaken(State.UNREADABLE, str(error)) from error
        if lacking:
            raise NotTaken(State.UNREADABLE, "documents of it are neither in it nor here", tuple(lacking))
        try:
            examined.edition = await self._verified(bundle)
        except RollbackError as error:
            examined.too_old = f"{error}; if that is meant: --accept-older"
            if isinstance(error, AnotherStream):
                raise NotTaken(State.REFUSED, examined.too_old) from error
            examined.wanted = await self._named_elsewhere(bundle)
        else:
            await self._threads.slow(_name_items, examined, examined.edition)
        return examined

    async def _verified(self, bundle: Bundle) -> Edition:
        """Return what a bundle's documents say. Raises RollbackError, NotTaken and StoreFault."""
        documents = CarriedDocuments(
            f"bundle {bundle.sources}: ",
            bundle.contents,
            lambda file: bundle.read(file) or self._store.read(file.sha256),
            self._threads,
        )
        paths = [one.path for one in bundle.contents.documents]
        problem, edition = "", None
        try:
            edition = await self._cache.examine(
                bundle.mirror, documents.origin, paths, accept_older=self._accepts_older
            )
            problem = _refused(edition.generation, bundle.contents)
        except (RollbackError, StoreFault):
            raise
        except ProxyError as error:
            problem = str(error)
        if documents.faults:
            raise NotTaken(State.UNREADABLE, str(documents.faults[0]))
        if edition is None or problem:
            raise NotTaken(State.REFUSED, problem)
        return edition

    def _documents_missing(self, bundle: Bundle) -> list[File]:
        return [
            one
            for one in bundle.contents.documents
            if not bundle.has(one) and not self._store.has(one.sha256)
        ]

    async def _named_elsewhere(self, bundle: Bundle) -> dict[Digest, Item]:
        """Return the items of a bundle that is too old which what is served names, or what waits."""
        editions = await self._activation.editions(bundle.mirror)
        with contextlib.suppress(NoGeneration):
            editions.append(await self._cache.edition(bundle.mirror))

        def find() -> dict[Digest, Item]:
            wanted = {}
            for file in bundle.contents.items:
                found = (one.find_digest(file.sha256) for one in editions)
                item = next((one[0] for one in found if one is not None and not one[1]), None)
                if item is not None and item.size_bytes == file.size:
                    wanted[item.digest] = item
            return wanted

        return await self._threads.slow(find)


def _name_items(examined: Examined, edition: Edition) -> None:
    """Find the items of a bundle that its own lists name."""
    for file in examined.bundle.contents.items:
        item = edition.served(file.path)
        if item is not None and (item.digest, item.size_bytes) == (file.sha256, file.size):
            examined.wanted[item.digest] = item
        elif item is None and edition.catalog.is_unverifiable(file.path):
            examined.unprovable.append(file.path)
        else:
            examined.mislabelled.append(file.path)


def _refused(generation: Generation, contents: Contents) -> str:
    """Return why documents that a bundle has were refused, "" if none was."""
    carried = {one.path for one in contents.documents}
    refused = {**generation.unproved, **generation.refused}
    found = [why for path, why in refused.items() if path in carried]
    more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
    return "; ".join(found[:_MOST_TOLD]) + more

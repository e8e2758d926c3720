"""What a lockfile names, verified as if it had been fetched, and believed no further than that.

A lockfile brings the documents' own bytes: those are checked with the mirror's keys of now, and
every item must be named so by one of them. Where no keys are, as TLS is trusted, nothing in a
lockfile proves itself: there only documents count that were accepted here from the origin.
Nothing is accepted by that, and it does not matter how old it is.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

from proxy.bundles.contents import File
from proxy.bundles.lockfile import Locked
from proxy.digest import Digest
from proxy.documents.documents import Documents
from proxy.documents.generation import Edition, Generation
from proxy.errors import ProxyError
from proxy.mirror import Trust
from proxy.simplestreams.model import Item
from proxy.sources.carried.origin import CarriedOrigin

_NAME = "lockfile: "
_MOST_NAMED = 3


class LockRefused(ProxyError):
    """A lockfile of which something is not proved, or that is of mirrors that are not here."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A file in a lockfile that nothing proves."""

    mirror: str
    path: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What is locked of one generation of a mirror, and what of it is proved."""

    locked: Locked
    edition: Edition
    items: tuple[Item, ...]
    """Those that are proved."""
    flaws: tuple[Flaw, ...]

    @property
    def mirror(self) -> str:
        """The name of its mirror."""
        return self.locked.contents.mirror

    @property
    def documents(self) -> tuple[Item, ...]:
        """The documents that clients get."""
        return tuple(map(item_of, self.locked.served_documents))

    @property
    def document_digests(self) -> frozenset[Digest]:
        """The blobs of all its documents, and of the texts that were verified."""
        documents = self.edition.generation.documents.values()
        return frozenset(digest for one in documents for digest in (one.digest, one.text))


def item_of(file: File) -> Item:
    """Return a file as one to serve."""
    return Item(file.path, file.sha256, file.size)


def carried(locked: Locked, data: Mapping[Digest, bytes]) -> CarriedOrigin:
    """Return the documents of a generation in a lockfile as an origin."""

    async def read(digest: Digest) -> bytes:
        return data[digest]

    documents = {one.path: partial(read, one.sha256) for one in locked.contents.documents}
    return CarriedOrigin(_NAME, documents)


async def verified(documents: Documents, locked: Locked, data: Mapping[Digest, bytes]) -> Verified:
    """Return what is proved of a generation in a lockfile, with its documents put into the store.

    Raises LockRefused when its index is not.
    """
    mirror = documents.mirror
    try:
        if mirror.trust is Trust.TLS:
            edition = await _accepted(documents, locked)
        else:
            paths = [one.path for one in locked.contents.documents]
            edition = await documents.vet(carried(locked, data), paths)
    except ProxyError as error:
        raise LockRefused(
            f"the documents of mirror {mirror.name} in the lockfile cannot be verified: {error}"
        ) from error
    flaws = tuple(_flaws(locked, edition))
    flawed = {flaw.path for flaw in flaws}
    items = tuple(item_of(one) for one in locked.contents.items if one.path not in flawed)
    return Verified(locked=locked, edition=_numbered(edition, locked), items=items, flaws=flaws)


def check_flawless(found: tuple[Verified, ...]) -> None:
    """Raise LockRefused if something in a lockfile is not proved."""
    flaws = [flaw for one in found for flaw in one.flaws]
    if flaws:
        named = "; ".join(f"{one.mirror} {one.path} {one.problem}" for one in flaws[:_MOST_NAMED])
        more = f"; and {len(flaws) - _MOST_NAMED} more" if len(flaws) > _MOST_NAMED else ""
        raise LockRefused(f"the lockfile is damaged, or somebody has changed it: {named}{more}")


async def _accepted(documents: Documents, locked: Locked) -> Edition:
    """Return the accepted generation, if a lockfile has the same."""
    edition = await documents.current()
    if not _is_the_same(locked, edition.generation):
        raise LockRefused(
            'it has trust = "tls", so nothing in a lockfile proves its documents, and they are not those '
            "that were accepted here from its origins"
        )
    return edition


def _is_the_same(locked: Locked, generation: Generation) -> bool:
    here = {one.item for one in generation.documents.values()}
    return all(item_of(one) in here for one in locked.contents.documents)


def _flaws(locked: Locked, edition: Edition) -> Iterator[Flaw]:
    mirror = locked.contents.mirror
    for file in locked.contents.documents:
        if edition.document(file.path) != item_of(file):
            why = edition.generation.refused.get(file.path, "its index names no such document")
            yield Flaw(mirror, file.path, f"is not proved: {why}")
    for file in locked.contents.items:
        if edition.served(file.path) != item_of(file):
            yield Flaw(mirror, file.path, "is not proved: no list in the lockfile names it with this sha256")


def _numbered(edition: Edition, locked: Locked) -> Edition:
    """Return the edition under the number that its generation had when it was recorded."""
    generation = replace(edition.generation, number=locked.contents.generation)
    return replace(edition, generation=generation)

"""Generations: the documents of a mirror that were verified and accepted together.

A Generation is a value, which `records.py` reads and writes; an Edition is a generation
whose lists are loaded, so that it can be served. The documents themselves are blobs.
"""

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from typing import Self

from proxy.digest import Digest, is_digest
from proxy.documents.reading import Reading
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import Catalog
from proxy.simplestreams.listing import Entry
from proxy.simplestreams.model import PRODUCTS_FORMAT, Item, Products
from proxy.simplestreams.parse import FormatError, parse_document
from proxy.sources.document import Validators
from proxy.store.files import StoreFault
from proxy.store.protocols import ReadStore
from proxy.store.schema import Count, Moment

SIBLING = "sibling"
"""Format of a document that is verified by another one: a plain flavour, or a signature."""


NEVER = math.inf
"""Moment of what has not happened."""
NO_DIGEST = Digest("0" * 64)
"""Of a document of which only the dates are known."""
_MOST_LEFT = 1000


class GenerationLost(ProxyError):
    """A generation whose documents are not all in the store any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """One accepted document: its bytes as published, and the text that was verified."""

    path: str
    format: str
    """`index:1.0`, `products:1.0`, SIBLING, or WHOLE for what is verified and served as it is."""
    digest: Digest
    size_bytes: Count
    text: Digest
    """Of the text that the signature covers; parsed from here, never from the bytes."""
    content_id: str = ""
    updated: Moment | None = None
    signed_at: Moment | None = None
    is_ahead: bool = False
    """Whether one of these dates lay in the future when the document was accepted."""
    least_updated: Moment | None = None
    least_signed_at: Moment | None = None
    """What counts then instead of the dates in the future."""
    fingerprint: str = ""
    origin: str = ""
    etag: str | None = None
    last_modified: str | None = None

    def __post_init__(self) -> None:
        if not (is_digest(self.digest) and is_digest(self.text)):
            raise ValueError("what should be a SHA-256 is none")

    @property
    def item(self) -> Item:
        """The document as a file to serve."""
        return Item(self.path, self.digest, self.size_bytes)

    def date_only(self) -> Self:
        """Return a document of which only the dates count: nothing older is accepted."""
        return replace(self, digest=NO_DIGEST, etag=None, last_modified=None)

    @property
    def validators(self) -> Validators:
        """What makes the next request to the same origin conditional."""
        return Validators(etag=self.etag, last_modified=self.last_modified)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one index and all it names said at one time. Times are Unix seconds."""

    number: Count
    keyring: str
    """Identity of the keyring that verified it; with other keys it is verified again.


    Empty when only the dates of its documents could be read from its record.
    """
    accepted_at: Moment
    checked_at: Moment
    """When an origin last confirmed that this is current."""
    index_path: str
    documents: dict[str, Document]
    absent: tuple[str, ...] = ()
    """Lists that the index names and the origin does not have."""
    gaps: tuple[str, ...] = ()
    """What did not fit together when it was accepted all the same."""
    refused: dict[str, str] = field(default_factory=dict)
    """Lists left out because they could not be verified or not be had, and why."""
    broken: tuple[str, ...] = ()
    """Those of them whose origin gave no answer, or not all of one."""
    oddities: tuple[str, ...] = ()
    """What is wrong with entries of its indexes, in words."""
    content_ids: tuple[str, ...] = ()
    """The lists that its index names, or those before if it names none; empty when they are those it has."""
    left: dict[str, Document] = field(default_factory=dict)
    """What earlier generations had and this one has not: nothing older than that may come back."""

    unproved: dict[str, str] = field(default_factory=dict)
    """Entry points, and files that are no lists, left out because nothing proves them, and why."""

    def __post_init__(self) -> None:
        if self.index_path not in self.documents:
            raise ValueError("its index is not among its documents")

    @property
    def updated(self) -> float | None:
        """The date that the index itself states."""
        return self.documents[self.index_path].updated

    @property
    def stream(self) -> frozenset[str]:
        """The names of the lists that its index names; an earlier release recorded only those it had."""
        had = (document.content_id for document in self.documents.values())
        return frozenset(self.content_ids or filter(None, had))

    def says_the_same(self, other: "Generation") -> bool:
        """Whether both would be served alike: the same bytes under the same paths."""
        ours = {path: document.digest for path, document in self.documents.items()}
        theirs = {path: document.digest for path, document in other.documents.items()}
        return (ours, self.absent, self.refused.keys()) == (theirs, other.absent, other.refused.keys())

    def left_by(self, documents: Collection[str]) -> dict[str, Document]:
        """Return the dates to keep of documents that a generation with only these paths does not have."""
        known = {**self.left, **self.documents}
        left = [
            document.date_only()
            for path, document in known.items()
            if path not in documents and document.format != SIBLING
        ]
        return {document.path: document for document in left[-_MOST_LEFT:]}

    def dates_only(self) -> Self:
        """Return a generation of which only the dates count: nothing older is accepted."""
        documents = {path: document.date_only() for path, document in self.documents.items()}
        return replace(self, documents=documents)

    def unbound(self) -> Self:
        """Return a generation that anything may replace, also what is older or of another stream."""
        documents = {
            path: replace(document, updated=None, signed_at=None, is_ahead=False, content_id="")
            for path, document in self.documents.items()
        }
        return replace(self, documents=documents, left={}, content_ids=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """A generation with its catalog, ready to be served."""

    generation: Generation
    catalog: Catalog
    retired_at: float = NEVER
    """When another one was served in its place."""

    def document(self, path: str) -> Item | None:
        """Return the generation's document at `path` as a file to serve."""
        document = self.generation.documents.get(path)
        return None if document is None else document.item

    def served(self, path: str) -> Item | None:
        """Return what clients get at a path, whatever several lists say of it: a document, or a listed item.

        Whoever prefetches, checks or lists files asks here, so that all mean the same bytes.
        """
        return self.document(path) or self.catalog.find(path)

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        for document in self.generation.documents.values():
            if digest in {document.digest, document.text}:
                return document.item, True
        item = self.catalog.find_digest(digest)
        return None if item is None else (item, False)

    def conflicts(self) -> list[str]:
        """Say of each path that is named twice, and not alike, who says what and what is served. Blocks."""
        lists = [one.path for one in self.generation.documents.values() if one.format == PRODUCTS_FORMAT]
        found = [
            f"{kept.path}: {_said(lists[kept_in], kept)}, which is served; {_said(lists[other_in], other)}"
            for (kept, other), kept_in, other_in in self.catalog.conflicts()
        ]
        for document in self.generation.documents.values():
            listed = self.catalog.find(document.path)
            if listed is not None and listed != document.item:
                found.append(
                    f"{document.path}: a document of the mirror, which is served, and listed as an item"
                )
        return found


def _said(path: str, entry: Entry) -> str:
    return (
        f"{path} says sha256 {str(entry.digest)[:12]}… of {entry.size_bytes} bytes (version {entry.version})"
    )


def load_edition(store: ReadStore, reading: Reading, generation: Generation) -> Edition:
    """Load what a generation's lists name. Blocks; raises GenerationLost."""
    listings = []
    for document in _lists(store, generation):
        try:
            listing = reading.listing(document.text)
        except (FormatError, StoreFault) as error:
            raise GenerationLost(f"{document.path} cannot be loaded: {error}") from error
        if listing is None:
            raise GenerationLost(f"the store has lost the text of {document.path}")
        listings.append(listing)
    return Edition(generation=generation, catalog=Catalog(listings))


def read_lists(store: ReadStore, generation: Generation) -> Iterator[Products]:
    """Yield the products lists of a generation in full. Blocks; raises GenerationLost."""
    for document in _lists(store, generation):
        text = store.read(document.text)
        parsed = None if text is None else parse_document(text)
        if not isinstance(parsed, Products):
            raise GenerationLost(f"the store has lost the text of {document.path}")
        yield parsed


def check_stored(store: ReadStore, generation: Generation) -> None:
    """Raise GenerationLost unless the store has the index and lists that are served. Blocks."""
    for document in generation.documents.values():
        if document.format != SIBLING and not store.has(document.digest):
            raise GenerationLost(f"the store has lost {document.path}")


def _lists(store: ReadStore, generation: Generation) -> Iterator[Document]:
    """Yield the products lists of a generation, once it is clear that the store has what is served."""
    check_stored(store, generation)
    for document in generation.documents.values():
        if document.format == PRODUCTS_FORMAT:
            yield document

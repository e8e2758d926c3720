"""The editions of one mirror that this worker has loaded: the served one, and those that it replaced lately.

Knows neither records nor what other workers do.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

from proxy.digest import Digest
from proxy.documents.generation import NEVER, Edition
from proxy.documents.shared_facts import SharedFacts
from proxy.simplestreams.model import Item

_SAME_READER_S = 60.0
"""A client that read an index gets that generation's lists for this long."""


class LoadedEditions:
    """The served edition, and those that it replaced lately."""

    def __init__(self, retain_s: float, clock: Callable[[], float]) -> None:
        self._retain_s = retain_s
        self._clock = clock
        self.served: Edition | None = None
        self._replaced: list[Edition] = []
        self._folders: frozenset[str] = frozenset()
        """Where their documents lie: usually in "streams" alone."""

    def serve(self, edition: Edition) -> None:
        """Serve an edition; keep the replaced ones for what it no longer names."""
        now = self._clock()
        kept_s = max(self._retain_s, _SAME_READER_S)
        replaced = [] if self.served is None else [replace(self.served, retired_at=now)]
        self.served = edition if edition.retired_at == NEVER else replace(edition, retired_at=NEVER)
        self._replaced = [
            replace(old, retired_at=min(old.retired_at, now))
            for old in (*replaced, *self._replaced)
            if now - old.retired_at < kept_s and old.generation.number != edition.generation.number
        ]
        self._note_folders()

    def add_replaced(self, edition: Edition, when: float) -> None:
        """Add an edition that was replaced at `when`."""
        self._replaced.append(replace(edition, retired_at=min(when, self._clock())))
        self._note_folders()

    def may_be_document(self, path: str) -> bool:
        """Whether a document, or a flavour of one, may lie at `path`: whether some lie in that folder."""
        return _folder(path) in self._folders

    def numbered(self, number: int) -> Edition | None:
        """Return the edition of a generation, None when it is not loaded."""
        editions = (self.served, *self._replaced)
        return next((one for one in editions if one is not None and one.generation.number == number), None)

    def replaced_document(self, path: str) -> tuple[Item, Edition] | None:
        """Return the document that was at `path` in an edition replaced lately."""
        found = ((edition.document(path), edition) for edition in self._lately())
        return next(((item, edition) for item, edition in found if item is not None), None)

    def item(self, path: str) -> Item | None:
        """Return the item that the served edition names at `path`, or one replaced lately did."""
        found = (edition.catalog.find(path) for edition in self._lately())
        return next((item for item in found if item is not None), None)

    def naming(self, item: Item) -> Edition | None:
        """Return the newest edition that names an item, of those whose files are served; None without one."""
        return next((one for one in self._lately() if one.catalog.find(item.path) == item), None)

    def find_digest(self, digest: Digest) -> tuple[Item, bool] | None:
        """Return the document or item with a digest, and whether it is a document."""
        found = (edition.find_digest(digest) for edition in self._lately())
        return next((one for one in found if one is not None), None)

    def drop_damaged(self) -> bool:
        """Forget editions whose lists cannot be read any more; return whether that hit a replaced one."""
        if self.served is not None and self.served.catalog.is_damaged:
            self.served = None
        whole = [old for old in self._replaced if not old.catalog.is_damaged]
        has_dropped = len(whole) < len(self._replaced)
        self._replaced = whole
        return has_dropped

    def _note_folders(self) -> None:
        editions = (self.served, *self._replaced)
        documents = (one.generation.documents for one in editions if one is not None)
        self._folders = frozenset(_folder(path) for of_edition in documents for path in of_edition)

    def _lately(self) -> Iterator[Edition]:
        """Yield the served edition and those whose files are still served."""
        if self.served is not None:
            yield self.served
        since = self._clock() - self._retain_s
        yield from (old for old in self._replaced if old.retired_at > since)


def _folder(path: str) -> str:
    """Return the first folder of a path, "" for a file at the top."""
    folder, slash, _ = path.partition("/")
    return folder if slash else ""


class Readers:
    """Which edition's index each client has read last, from whatever worker."""

    def __init__(self, loaded: LoadedEditions, shared: SharedFacts, clock: Callable[[], float]) -> None:
        self._loaded = loaded
        self._shared = shared
        self._clock = clock

    def note(self, client: str, edition: Edition) -> None:
        """Note that a client has just read the index of an edition."""
        self._shared.note_reader(client, edition.generation.number, self._clock())

    def edition_of(self, client: str) -> Edition | None:
        """Return the edition whose index a client read last, if that was a short while ago."""
        number = self._shared.reader(client, self._clock(), _SAME_READER_S)
        return None if number is None else self._loaded.numbered(number)

"""Whether a reply that is ready may go out again: a client would still get the same document or item.

Asked for each request that is answered from memory, so nothing here waits for anything.
"""

import contextlib
from collections.abc import Callable
from functools import partial

from proxy.documents.editions import Editions
from proxy.documents.flavours import INDEX_PATHS
from proxy.documents.generation import Edition
from proxy.documents.loaded import Readers
from proxy.simplestreams.listing import ListingDamaged
from proxy.simplestreams.model import Item
from proxy.sources.offline import Offline


class Currency:
    """Answers for one mirror."""

    def __init__(self, editions: Editions, readers: Readers, offline: Offline) -> None:
        self._editions = editions
        self._readers = readers
        self._offline = offline

    def of_document(self, path: str, edition: Edition) -> Callable[[str], bool]:
        """Return what says whether a client still gets the document at `path` from this edition."""
        return partial(self._is_document_current, path, edition)

    def of_item(self, item: Item) -> Callable[[str], bool]:
        """Return what says whether clients still get an item.

        It may change with the generation: a publisher may have put another file in its place.
        """
        number = self._number if self._names(item) else None
        return lambda _: self._is_settled() and number == self._number

    @property
    def _number(self) -> int | None:
        served = self._editions.served
        return None if served is None else served.generation.number

    def _names(self, item: Item) -> bool:
        with contextlib.suppress(ListingDamaged):
            return self._editions.loaded.item(item.path) == item
        return False

    def _is_settled(self) -> bool:
        """Whether what is served needs no look at what others have announced, nor a check."""
        return self._editions.is_announced_loaded() and not self._offline.is_on

    def _is_document_current(self, path: str, edition: Edition, client: str) -> bool:
        if not self._is_settled():
            return False
        if path in INDEX_PATHS:
            if edition is not self._editions.served:
                return False
            self._readers.note(client, edition)
            return True
        return (self._readers.edition_of(client) or self._editions.served) is edition

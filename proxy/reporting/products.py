"""What the lists name and what of it is here, by release and architecture.

Lists may name a million files. What they name is counted once for each list, a
large one by a process of its own; what of it is here is counted again and again,
a share of all digests at a time, for at most a twentieth of the time. Nobody waits
long for either: the table shows what is known, and whether more is to come.
"""

import asyncio
import logging
import time
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from proxy.digest import Digest
from proxy.service.cache import Cache
from proxy.simplestreams.census import BOOT_LOADER
from proxy.simplestreams.model import PRODUCTS_FORMAT
from proxy.store.censuses import Census
from proxy.store.files import StoreFault
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_PATIENCE_S = 0.4
"""Somebody is looking at a page meanwhile."""
_REST_FACTOR = 20
_BRIEF_S = 0.05
"""What takes no longer is counted whenever somebody asks."""
_BEING_COUNTED = "it is still being counted"
_MOST_PINS = 8
_PAUSE_S = 60.0
"""After a list that could not be counted."""


class ProductKind(NamedTuple):
    """What a row is about."""

    mirror: str
    release: str
    arch: str


@dataclass(slots=True)
class Version:
    """A version of a kind: how many of its files are here, of those that count."""

    name: str
    files: int = 0
    here: int = 0


@dataclass(slots=True)
class ProductRow:
    """How much of a kind is here; sizes in bytes, each content once."""

    items: int = 0
    cached_items: int = 0
    partial_items: int = 0
    pinned_items: int = 0
    total_bytes: int = 0
    cached_bytes: int = 0
    newest: str = ""
    """Name of the newest version."""
    key: str = ""
    """The field of a filter that selects the release; "" if there is none."""
    is_for_maas: bool = False
    is_boot_loader: bool = False
    wanted_items: int = 0
    """Files that clients want now: those MAAS downloads, or those of the newest version of each product."""
    wanted_here: int = 0
    wanted_bytes: int = 0
    wanted_bytes_here: int = 0
    versions: dict[str, Version] = field(default_factory=dict)
    pins: set[str] = field(default_factory=set)
    """Names of pins that keep something of it; a few, if there are many."""

    @property
    def state(self) -> str:
        """One word for it."""
        if self.cached_items == self.items:
            return "cached"
        return "partial" if self.cached_items or self.partial_items else "upstream"

    @property
    def is_complete(self) -> bool:
        """Whether all that clients want now is here."""
        return self.wanted_here == self.wanted_items > 0

    @property
    def newest_whole(self) -> str:
        """The name of the newest version of which all that counts is here, "" for none."""
        return max((one.name for one in self.versions.values() if one.here == one.files > 0), default="")

    @property
    def newest_begun(self) -> Version | None:
        """The newest version of which something is here."""
        begun = [one for one in self.versions.values() if one.here]
        return max(begun, key=lambda one: one.name, default=None)


class ProductRows(NamedTuple):
    """The table, as far as it is known."""

    rows: list[tuple[ProductKind, ProductRow]]
    uncounted: dict[str, str]
    """Mirrors with lists that are not in it, and why."""


class _Failure(NamedTuple):
    """Why a list could not be counted, and until when that is not tried again, by the monotonic clock."""

    problem: str
    over_at: float


class ProductTable:
    """Makes the table."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._storage = cache.storage
        self._censuses: dict[Digest, Census] = {}
        self._taking: dict[Digest, asyncio.Task[None]] = {}
        self._failed: dict[Digest, _Failure] = {}
        self._counting: asyncio.Task[None] | None = None
        self._count_again_at = 0.0
        self._known = ProductRows([], dict.fromkeys(cache.mirrors, _BEING_COUNTED))

    async def rows(self) -> ProductRows:
        """Return the rows of all mirrors that have lists, by mirror, release and architecture.

        Those who ask while they are being counted share them.
        """
        if self._counting is None and time.monotonic() >= self._count_again_at:
            self._counting = asyncio.create_task(self._count(), name="product table")
            self._counting.add_done_callback(self._end)
        if self._counting is not None:
            await asyncio.wait([self._counting], timeout=_PATIENCE_S)
        return self._known

    def _end(self, counting: asyncio.Task[None]) -> None:
        self._counting = None
        if not counting.cancelled() and (error := counting.exception()) is not None:
            log.warning("products.not_counted problem=%s", error)

    async def _count(self) -> None:
        texts = {mirror: await self._texts(mirror) for mirror in self._cache.mirrors}
        every = {text for some in texts.values() for text in some}
        self._censuses = {text: one for text, one in self._censuses.items() if text in every}
        self._failed = {text: one for text, one in self._failed.items() if text in every}
        taking = [self._take(text) for text in every - self._censuses.keys() if self._may_take(text)]
        if taking:
            await asyncio.wait(taking, timeout=_PATIENCE_S / 2)
        known = {
            mirror: [self._censuses[text] for text in some if text in self._censuses]
            for mirror, some in texts.items()
        }
        began = time.monotonic()
        rows = await self._storage.threads.slow(_rows, self._storage, known)
        uncounted = {mirror: some - self._censuses.keys() for mirror, some in texts.items()}
        self._known = ProductRows(
            rows, {mirror: self._why_not(some) for mirror, some in uncounted.items() if some}
        )
        took_s = time.monotonic() - began
        if took_s > _BRIEF_S:
            self._count_again_at = time.monotonic() + took_s * _REST_FACTOR

    async def _texts(self, mirror: str) -> set[Digest]:
        """Return the digests of what a mirror's lists say; asks no origin."""
        generation = await self._cache.recorded(mirror)
        documents = () if generation is None else generation.documents.values()
        return {document.text for document in documents if document.format == PRODUCTS_FORMAT}

    def _may_take(self, text: Digest) -> bool:
        failure = self._failed.get(text)
        return failure is None or time.monotonic() >= failure.over_at

    def _why_not(self, texts: set[Digest]) -> str:
        return next((self._failed[text].problem for text in texts if text in self._failed), _BEING_COUNTED)

    def _take(self, text: Digest) -> asyncio.Task[None]:
        """Have a list counted, unless that is under way."""
        if text not in self._taking:
            task = asyncio.create_task(self._take_census(text), name="census")
            self._taking[text] = task
            task.add_done_callback(lambda _: self._taking.pop(text))
        return self._taking[text]

    async def _take_census(self, text: Digest) -> None:
        try:
            census = await self._storage.threads.slow(self._cache.reading.census, text)
        except StoreFault as error:
            log.warning("list.not_counted text=%s problem=%s", text, error)
            self._failed[text] = _Failure(str(error), time.monotonic() + _PAUSE_S)
            return
        self._failed.pop(text, None)
        if census is not None:
            self._censuses[text] = census
            self._count_again_at = 0.0


def _rows(storage: Storage, known: dict[str, list[Census]]) -> list[tuple[ProductKind, ProductRow]]:
    """Count what of each kind is here. Blocks."""
    partial = set(storage.store.partial_digests())
    found: dict[ProductKind, ProductRow] = {}
    for mirror, censuses in known.items():
        for census in censuses:
            rows = []
            for kind in census.kinds:
                row = found.setdefault(ProductKind(mirror, kind.release, kind.arch), ProductRow())
                row.newest = max(row.newest, kind.newest)
                row.items += kind.files
                row.total_bytes += kind.total_bytes
                row.key = kind.key
                row.is_for_maas |= kind.is_for_maas
                row.is_boot_loader = kind.release.startswith(BOOT_LOADER)
                rows.append(row)
            _add_held(storage, census, rows, partial)
    return sorted(found.items())


def _add_held(storage: Storage, census: Census, rows: list[ProductRow], partial: set[Digest]) -> None:
    """Add what is here of a list, to the rows of its kinds; a 256th of all digests at a time."""
    for beginning, share in groupby(census.rows(), key=lambda row: row[0][:2]):
        held = storage.store.shard_sizes(beginning)
        pinned = storage.pins.names(beginning)
        for one in share:
            row = rows[one.kind]
            is_here = held.get(one.digest) == one.size_bytes
            arrived_bytes = one.size_bytes if is_here else 0
            if not is_here and one.digest in partial:
                arrived_bytes = storage.store.stored_bytes(one.digest, one.size_bytes)
            if one.is_first:
                row.cached_items += is_here
                row.partial_items += not is_here and arrived_bytes > 0
                row.cached_bytes += arrived_bytes
                row.pinned_items += one.digest in pinned
                if one.digest in pinned and len(row.pins) < _MOST_PINS:
                    row.pins.update(pinned[one.digest])
            counts_for_maas = row.is_for_maas or row.is_boot_loader
            if counts_for_maas and not one.is_boot_file:
                continue
            if one.version is not None:
                name = census.kinds[one.kind].versions[one.version]
                version = row.versions.setdefault(name, Version(name))
                version.files += 1
                version.here += is_here
            if one.is_wanted:
                row.wanted_items += 1
                row.wanted_here += is_here
                row.wanted_bytes += one.size_bytes
                row.wanted_bytes_here += arrived_bytes

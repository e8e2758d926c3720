"""What the lists name and what of it is here, by release and architecture."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.cache.service import Cache
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import listed_file
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.walk import flatten, positions


class Kind(NamedTuple):
    """What a row is about."""

    mirror: str
    release: str
    arch: str


@dataclass(slots=True)
class Row:
    """How much of a kind is here; sizes in bytes, each content once."""

    items: int = 0
    cached_items: int = 0
    partial_items: int = 0
    pinned_items: int = 0
    total_bytes: int = 0
    cached_bytes: int = 0
    newest: str = ""
    """Name of the newest version."""

    @property
    def state(self) -> str:
        """One word for it."""
        if self.cached_items == self.items:
            return "cached"
        return "partial" if self.cached_items or self.partial_items else "upstream"


@dataclass(slots=True)
class _Known:
    """The items of one mirror's generation."""

    number: int = -1
    items: dict[Kind, dict[Digest, Item]] = field(default_factory=dict)
    newest: dict[Kind, str] = field(default_factory=dict)


class ProductTable:
    """Makes the table; lists are read again only when a generation is new."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._known: dict[str, _Known] = defaultdict(_Known)
        self._counting: asyncio.Task[list[tuple[Kind, Row]]] | None = None

    async def rows(self) -> list[tuple[Kind, Row]]:
        """Return the rows of all mirrors that have lists, by mirror, release and architecture.

        Those who ask while they are being counted share them.
        """
        if self._counting is None:
            self._counting = asyncio.create_task(self._count_all(), name="product table")
            self._counting.add_done_callback(self._end)
        return await asyncio.shield(self._counting)

    def _end(self, _: asyncio.Task[list[tuple[Kind, Row]]]) -> None:
        self._counting = None

    async def _count_all(self) -> list[tuple[Kind, Row]]:
        found: list[tuple[Kind, Row]] = []
        threads, ledger = self._cache.storage.threads, self._cache.storage.ledger
        pins = await threads.slow(ledger.pins)
        for mirror in self._cache.mirrors:
            found += await threads.slow(self._count, await self._know(mirror), pins)
        return found

    async def _know(self, mirror: str) -> _Known:
        """Return a mirror's items; asks for its lists only when they are new, as a client's asking counts."""
        generation = await self._cache.recorded(mirror)
        if generation is None:
            return _Known()
        if generation.number != self._known[mirror].number:
            try:
                edition, lists = await self._cache.lists(mirror)
            except ProxyError:
                return _Known()
            read = self._cache.storage.threads.slow(_read, mirror, edition.generation.number, lists)
            self._known[mirror] = await read
        return self._known[mirror]

    def _count(self, known: _Known, pins: Mapping[Digest, object]) -> list[tuple[Kind, Row]]:
        """Look into the store for every item. Blocks."""
        rows = []
        for kind, items in sorted(known.items.items()):
            row = Row(newest=known.newest[kind])
            for digest, item in items.items():
                held_bytes = self._cache.storage.store.held_bytes(digest, item.size_bytes)
                row.items += 1
                row.total_bytes += item.size_bytes
                row.cached_bytes += held_bytes
                row.cached_items += held_bytes == item.size_bytes
                row.partial_items += 0 < held_bytes < item.size_bytes
                row.pinned_items += digest in pins
            rows.append((kind, row))
        return rows


def _read(mirror: str, number: int, lists: list[Products]) -> _Known:
    items: dict[Kind, dict[Digest, Item]] = defaultdict(dict)
    newest: dict[Kind, str] = defaultdict(str)
    for products in lists:
        for position in positions(products):
            file = listed_file(position)
            if file is None:
                continue
            fields = flatten(position)
            release = fields.get("release") or fields.get("os") or fields.get("product_name", "")
            if "bootloader-type" in fields:
                release = f"boot loader {fields.get('os', '')}"
            kind = Kind(mirror, release, fields.get("arch", "-"))
            items[kind][file.digest] = file
            newest[kind] = max(newest[kind], fields["version_name"])
    return _Known(number, dict(items), dict(newest))

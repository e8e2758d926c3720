"""Items of which a list gives a SHA-512 and no SHA-256.

All that is stored is known by its SHA-256. So the first time that somebody asks for such an item it is
read once from an origin and held against its SHA-512; what that shows to be its SHA-256 is recorded,
and from then on it is an item like any other.
"""

import asyncio
import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import aclosing
from functools import partial
from typing import NamedTuple

from proxy.digest import Digest, is_digest
from proxy.documents.documents import Documents
from proxy.service.shared import Shared
from proxy.service.target import OfflineMiss
from proxy.simplestreams.catalog import listed_file, stated_path, stated_size
from proxy.simplestreams.model import Item, Products
from proxy.simplestreams.paths import PathError, listed_path
from proxy.simplestreams.walk import positions
from proxy.sources.errors import ItemAbsent, ItemUnobtainable, OriginAbsent, OriginError, WrongCopy
from proxy.sources.offline import OfflineSwitch
from proxy.sources.origin import ItemOptions, Origin
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Schema
from proxy.store.storage import Storage

_SHA256 = Kind("sha512/", Schema(str))
_SHA512 = re.compile("[0-9a-f]{128}")
_SIZE = re.compile("[0-9]{1,18}")
_AT_ONCE = 4


class _Listed(NamedTuple):
    """What proves an item."""

    path: str
    sha512: str
    size_bytes: int


class BySha512:
    """Finds the SHA-256 of such items."""

    def __init__(self, storage: Storage, offline: OfflineSwitch) -> None:
        self._storage = storage
        self._offline = offline
        self._learning = Shared[str, Digest]()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._listed: dict[str, tuple[int, dict[str, _Listed]]] = {}
        """By mirror: the generation that was looked through, and what it has of these by path."""

    async def find(self, mirror: str, documents: Documents, path: str) -> Item | None:
        """Return the item at a path that a list names without a SHA-256, None if without a SHA-512 too.

        Raises OfflineMiss, ItemAbsent or ItemUnobtainable.
        """
        listed = (await self._all(mirror, documents)).get(path)
        if listed is None:
            return None
        ledger, threads = self._storage.ledger, self._storage.threads
        digest = known(await threads.ledger(_SHA256.read, ledger, listed.sha512)) or ""
        if not is_digest(digest):
            if self._offline.is_on:
                raise OfflineMiss(path)
            digest = await self._learning.get(listed.sha512, partial(self._learn, documents, listed))
        return Item(path, Digest(digest), listed.size_bytes)

    async def _all(self, mirror: str, documents: Documents) -> dict[str, _Listed]:
        number = (await documents.current()).generation.number
        if self._listed.get(mirror, (None, {}))[0] != number:
            edition, lists = await documents.lists()
            found = await self._storage.threads.slow(_without_sha256, lists)
            self._listed[mirror] = edition.generation.number, found
        return self._listed[mirror][1]

    async def _learn(self, documents: Documents, listed: _Listed) -> Digest:
        """Read an item from the first origin that gives it right, and record its SHA-256."""
        last: OriginError | None = None
        async with self._slots:
            for origin in documents.route.order():
                try:
                    digest = await self._read(origin, listed)
                except OriginAbsent:
                    continue
                except OriginError as error:
                    last = error
                    continue
                threads, ledger = self._storage.threads, self._storage.ledger
                await threads.ledger(_SHA256.write, ledger, digest, listed.sha512)
                return digest
        if last is None:
            raise ItemAbsent(listed.path)
        raise ItemUnobtainable(listed.path, last)

    async def _read(self, origin: Origin, listed: _Listed) -> Digest:
        """Return the SHA-256 of what an origin has. Raises OriginError: WrongCopy if that is not the item."""
        sha512, sha256 = hashlib.sha512(), hashlib.sha256()

        def take(data: bytes) -> None:
            sha512.update(data)
            sha256.update(data)

        item = origin.item(listed.path, listed.size_bytes)
        async with aclosing(item.pieces(0, ItemOptions())) as pieces:
            async for piece in pieces:
                data = piece if isinstance(piece, bytes) else piece.read()
                while data:
                    await self._storage.threads.slow(take, data)
                    data = b"" if isinstance(piece, bytes) else piece.read()
        if sha512.hexdigest() != listed.sha512:
            raise WrongCopy(origin.name, f"its copy of {listed.path} has another sha512 than the list says")
        return Digest(sha256.hexdigest())


def recorded_item(ledger: Ledger, fields: Mapping[str, str]) -> Item | None:
    """Return the file of an item with these fields, if its SHA-256 was found out by its SHA-512. Blocks."""
    size = fields.get("size", "")
    try:
        path = listed_path(fields.get("path", ""))
    except PathError:
        return None
    digest = known(_SHA256.read(ledger, fields.get("sha512", "").lower())) or ""
    is_known = is_digest(digest) and _SIZE.fullmatch(size)
    return Item(path, Digest(digest), int(size)) if is_known else None


def _without_sha256(lists: Iterable[Products]) -> dict[str, _Listed]:
    """Return what lists name with a SHA-512 and no SHA-256, by path; the first list counts. Blocks."""
    found: dict[str, _Listed] = {}
    for products in lists:
        for position in positions(products):
            sha512 = position.field("sha512")
            path, size_bytes = stated_path(position), stated_size(position)
            if path is None or size_bytes is None or not isinstance(sha512, str):
                continue
            if _SHA512.fullmatch(sha512.lower()) and listed_file(position) is None:
                found.setdefault(path, _Listed(path, sha512.lower(), size_bytes))
    return found

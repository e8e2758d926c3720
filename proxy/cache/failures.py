"""Items that failed lately, so that they are not fetched again at once.

Shared by all workers through the ledger; every record expires by itself. It
names the origins that failed: an item counts as bad once all of a mirror's have.
"""

import contextlib
from collections.abc import Collection, Iterable

from proxy.cache.storage import Storage
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.simplestreams.model import Item
from proxy.store.ledger import LedgerUnavailable
from proxy.upstream.pull import ItemAbsent

_BAD_FOR_S = 300.0
_ABSENT_FOR_S = 60.0


class BadItem(ProxyError):
    """An item whose bytes are not those that the signed list promises."""

    def __init__(self, digest: Digest, problem: str) -> None:
        super().__init__(f"upstream's bytes for {digest} are wrong: {problem}")
        self.digest = digest
        self.problem = problem


class Failures:
    """Remembers which items are bad or absent.

    Badness is a fact about a digest and size, absence one about a path.
    """

    def __init__(self, storage: Storage) -> None:
        self._ledger = storage.ledger
        self._threads = storage.threads

    async def remember_bad(self, item: Item, problem: str, origins: Collection[str]) -> None:
        """Note for a while that these origins have wrong bytes."""
        await self._remember(_bad_key(item), problem, origins, _BAD_FOR_S)

    async def remember_absent(self, path: str, origins: Collection[str]) -> None:
        """Note for a while that these origins have nothing at a path."""
        await self._remember(_absent_key(path), path, origins, _ABSENT_FOR_S)

    async def check(self, item: Item, origins: Collection[str]) -> None:
        """Raise BadItem or ItemAbsent when that was found at all of these origins a short while ago."""
        bad, absent = await self._recall((_bad_key(item), _absent_key(item.path)), set(origins))
        if bad is not None:
            raise BadItem(item.digest, bad)
        if absent is not None:
            raise ItemAbsent(item.path)

    async def _recall(self, keys: Iterable[str], origins: set[str]) -> list[str | None]:
        """Return what is remembered under each key, if it was found at all of the origins."""
        try:
            records = await self._threads.ledger(lambda: [self._ledger.record(key) for key in keys])
        except LedgerUnavailable:
            records = [None for _ in keys]
        return [
            str(record[0]) if record is not None and origins <= set(record[1]) else None for record in records
        ]

    async def _remember(self, key: str, detail: str, origins: Collection[str], expire_s: float) -> None:
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._add, key, detail, set(origins), expire_s)

    def _add(self, key: str, detail: str, origins: set[str], expire_s: float) -> None:
        """Write a record, joined with what is known of other origins. Blocks."""
        with self._ledger.transaction():
            known = self._ledger.record(key)
            found_at = sorted(origins if known is None else origins | set(known[1]))
            self._ledger.write(key, [detail, found_at], expire_s=expire_s)


def _bad_key(item: Item) -> str:
    return f"bad/{item.digest}/{item.size_bytes}"


def _absent_key(path: str) -> str:
    return f"absent/{path}"

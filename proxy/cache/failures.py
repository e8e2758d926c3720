"""Items that failed lately, so that they are not fetched again at once.

Shared by all workers through the ledger; every record expires by itself. It
names the origins that failed: an item counts as bad once all of a mirror's have.
"""

import contextlib
from collections.abc import Collection
from typing import Any

from proxy.cache.storage import Storage
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.store.ledger import LedgerUnavailable
from proxy.upstream.pull import ItemAbsent

_BAD_FOR_S = 300.0
_ABSENT_FOR_S = 60.0
_ABSENT = "absent"
_BAD = "bad"


class BadItem(ProxyError):
    """An item whose bytes are not those that the signed list promises."""

    def __init__(self, digest: Digest, problem: str) -> None:
        super().__init__(f"upstream's bytes for {digest} are wrong: {problem}")
        self.digest = digest
        self.problem = problem


_Record = list[Any]
"""[kind, detail, names of the origins it was found at]."""


class Failures:
    """Remembers which items are bad or absent."""

    def __init__(self, storage: Storage) -> None:
        self._ledger = storage.ledger
        self._threads = storage.threads

    async def remember(self, digest: Digest, error: ItemAbsent | BadItem, origins: Collection[str]) -> None:
        """Note for a while what was found at these origins."""
        if isinstance(error, ItemAbsent):
            kind, detail, expire_s = _ABSENT, error.path, _ABSENT_FOR_S
        else:
            kind, detail, expire_s = _BAD, error.problem, _BAD_FOR_S
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._add, digest, [kind, detail, list(origins)], expire_s)

    async def check(self, digest: Digest, origins: Collection[str]) -> None:
        """Raise ItemAbsent or BadItem when that was found at all of these origins a short while ago."""
        try:
            record = await self._threads.ledger(self._ledger.record, f"failure/{digest}")
        except LedgerUnavailable:
            return
        if record is None:
            return
        kind, detail, found_at = record
        if not set(origins) <= set(found_at):
            return
        if kind == _ABSENT:
            raise ItemAbsent(detail)
        raise BadItem(digest, detail)

    def _add(self, digest: Digest, record: _Record, expire_s: float) -> None:
        """Write a record, joined with what is known of other origins. Blocks."""
        key = f"failure/{digest}"
        kind, detail, origins = record
        with self._ledger.transaction():
            known = self._ledger.record(key)
            if known is not None and known[0] == kind:
                origins = sorted({*known[2], *origins})
            self._ledger.write(key, [kind, detail, origins], expire_s=expire_s)

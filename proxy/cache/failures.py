"""Items that failed lately, so that they are not fetched again at once.

Shared by all workers through the ledger; every record expires by itself.
"""

import contextlib

from proxy.cache.threads import Threads
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.store.ledger import Ledger, LedgerUnavailable
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


class Failures:
    """Remembers which items are bad or absent."""

    def __init__(self, ledger: Ledger, threads: Threads) -> None:
        self._ledger = ledger
        self._threads = threads

    async def remember(self, digest: Digest, error: ItemAbsent | BadItem) -> None:
        """Note a failure for a while."""
        if isinstance(error, ItemAbsent):
            record, expire_s = [_ABSENT, error.path], _ABSENT_FOR_S
        else:
            record, expire_s = [_BAD, error.problem], _BAD_FOR_S
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._write, digest, record, expire_s)

    async def check(self, digest: Digest) -> None:
        """Raise ItemAbsent or BadItem when that was found a short while ago."""
        try:
            record = await self._threads.ledger(self._ledger.record, f"failure/{digest}")
        except LedgerUnavailable:
            return
        if record is None:
            return
        kind, detail = record
        if kind == _ABSENT:
            raise ItemAbsent(detail)
        raise BadItem(digest, detail)

    def _write(self, digest: Digest, record: list[str], expire_s: float) -> None:
        self._ledger.write(f"failure/{digest}", record, expire_s=expire_s)

"""Serving by itself what was imported, waits, and has become complete by a client's fill or a prefetch.

A running server does what `import --waiting` does. What may replace something newer is left to operators.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.jobs.importing.lacking import lacking, stored_contents
from proxy.jobs.importing.waiting import Waiting, all_waiting
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

LOOK_EVERY_S = 60.0
"""A generation may name many thousands of items, and each takes a look at the disk."""


class WaitingWatch:
    """Looks now and then at what waits, and has served what lacks nothing any more."""

    def __init__(
        self,
        storage: Storage,
        mirrors: Collection[str],
        serve: Callable[[Sequence[str]], Awaitable[None]],
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        """Look at what waits for these mirrors; have `serve` serve what is complete of some of them."""
        self._storage = storage
        self._mirrors = mirrors
        self._serve = serve
        self._look_every_s = look_every_s
        self._tried: set[Digest] = set()
        """What was complete before: if it waits still, the audit log says why, and an operator is needed."""

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            try:
                await self.look()
            except (ProxyError, OSError) as error:
                log.warning("import.not_resumed problem=%s", error)
            except Exception:  # The keeper's other chores must go on, whatever it is.
                log.exception("import.not_resumed")
            await asyncio.sleep(self._look_every_s)

    async def look(self) -> None:
        """Look once. Raises ProxyError and OSError."""
        storage = self._storage
        waiting = await storage.threads.ledger(all_waiting, storage.ledger)
        complete = await storage.threads.slow(self._complete, waiting)
        if complete:
            await self._serve([*complete])
            self._tried.update(one.contents for found in complete.values() for one in found)

    def _complete(self, waiting: Mapping[str, Sequence[Waiting]]) -> dict[str, list[Waiting]]:
        """Return what is complete and was not tried, of mirrors where nothing waits that is older. Blocks."""
        found = {}
        for mirror, several in waiting.items():
            may_go_back = any(one.accepts_older for one in several)
            complete = [] if may_go_back else [one for one in several if self._is_due(one)]
            if complete and mirror in self._mirrors:
                found[mirror] = complete
        return found

    def _is_due(self, one: Waiting) -> bool:
        store = self._storage.store
        is_known = one.contents not in self._tried and stored_contents(store, one.contents) is not None
        return is_known and not lacking(store, one)

"""The keeper's part of prefetches that somebody asked for: carry them out, a few at a time.

One that was not carried out to its end when the server stopped is taken up again.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from proxy.errors import ProxyError
from proxy.jobs.choosing import choose_items
from proxy.jobs.pins import unpin_if_nothing_came
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.requested import Requested, note_result, requested
from proxy.jobs.watching import Watcher
from proxy.readable import counted
from proxy.service.cache import Cache

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
_AT_ONCE = 2
_REST_S = 60.0
"""After a result that could not be written down."""


class RequestRunner:
    """Carries out what is written down."""

    def __init__(
        self,
        cache: Cache,
        clock: Callable[[], float],
        transfers: int,
        hold_s: float,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._transfers = transfers
        self._hold_s = hold_s
        self._look_every_s = look_every_s
        self._running: set[str] = set()

    async def run(self) -> None:
        """Carry out what is asked for until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                if not self._cache.offline.is_on:
                    for name, wanted in (await self._waiting()).items():
                        if name not in self._running and len(self._running) < _AT_ONCE:
                            self._running.add(name)
                            group.create_task(self._carry_out(name, wanted), name=f"requested {name}")
                await asyncio.sleep(self._look_every_s)

    async def _waiting(self) -> dict[str, Requested]:
        storage = self._cache.storage
        try:
            found = await storage.threads.ledger(requested, storage.ledger)
        except ProxyError as error:
            log.warning("request.not_read problem=%s", error)
            return {}
        waiting = (one for one in found.items() if one[1].ended_at is None)
        return dict(sorted(waiting, key=lambda one: one[1].asked_at))

    async def _carry_out(self, name: str, wanted: Requested) -> None:
        try:
            changes = await self._fetch(name, wanted)
            ended = replace(wanted, ended_at=self._clock(), **changes)
            log.info(
                "request.ran name=%s bytes=%d problem=%s", name, ended.fetched_bytes, ended.problem or None
            )
            storage = self._cache.storage
            await storage.threads.ledger(note_result, storage.ledger, name, ended)
        except ProxyError as error:
            log.warning("request.not_written name=%s problem=%s", name, error)
            await asyncio.sleep(_REST_S)
        finally:
            self._running.discard(name)

    async def _fetch(self, name: str, wanted: Requested) -> dict[str, Any]:
        """Return what came of it."""
        work: Prefetch | None = None
        try:
            order = Order(
                mirrors=wanted.mirrors,
                selection=wanted.selection(),
                choose=choose_items,
                pin=name,
                hold_s=self._hold_s,
                transfers=self._transfers,
            )
            work = Prefetch(self._cache, order, Watcher())
            await work.run()
        except ProxyError as error:
            return {"problem": str(error)}
        except KeyError as error:
            return {"problem": f"there is no mirror {error} any more"}
        except Exception as error:
            log.exception("request.crashed name=%s", name)
            return {"problem": f"{type(error).__name__}: {error}"}
        if work.report is None:
            return {"problem": "nothing was tried"}
        if not work.is_complete:
            await unpin_if_nothing_came(self._cache, name)
        return {"fetched_bytes": work.report.fetched_bytes, "problem": "; ".join(_flaws(work))}


def _flaws(work: Prefetch) -> list[str]:
    """Return why a run that came to its end is not complete."""
    report, chosen = work.report, work.chosen
    flaws = [f"the lists could not be checked: {problem}" for problem in work.unchecked.values()]
    if chosen is not None and chosen.unprovable:
        flaws.append(f"{chosen.unprovable[0].path} {chosen.unprovable[0].problem}")
    if report is not None and report.untried:
        flaws.append(report.untried)
    if report is not None and report.failures:
        item, why = report.failures[0]
        count = counted(len(report.failures), "item")
        flaws.append(f"{count} could not be had, first {item.item.path}: {why}")
    return flaws

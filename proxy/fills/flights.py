"""The running fills of this process: at most one for each item, joined by whoever wants it.

Starts fills, for clients (`opening.py`) and for jobs that bring items into the
store with nobody waiting, and ends them with the process.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from proxy.digest import Digest
from proxy.fills.bodies import Outcome
from proxy.fills.errors import BadItem, TransferDiscarded
from proxy.fills.facilities import Facilities
from proxy.fills.failures import Preflight
from proxy.fills.fill import Fill
from proxy.fills.pace import Pace
from proxy.fills.state import State
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.sources.route import Route

_COMMIT_WAIT_S = 5.0

_Key = tuple[Digest, int]
"""Digest and size in bytes: a list that gives a wrong size must not disturb those that do not."""


class Flights:
    """Starts fills and lets clients and jobs join them."""

    def __init__(self, facilities: Facilities, background: Pace) -> None:
        self.facilities = facilities
        self.background = background
        """The pace of fills that no client waits for."""
        self._joinable: dict[_Key, Fill] = {}
        self._running: set[Fill] = set()
        """All that have not ended, also those that nobody can join any more."""
        self._turns = itertools.count()

    def __repr__(self) -> str:
        return f"Flights({sorted(map(repr, self._running))}; {self.facilities.places!r})"

    async def preflight(self, item: Item, route: Route) -> Preflight | None:
        """Return what the ledger says to a fill that may begin; None if it cannot be asked, or one runs.

        Raises ItemAbsent or BadItem when no origin had it right a short while ago.
        """
        failures, storage = self.facilities.failures, self.facilities.storage
        if self._find(item) is not None:
            (await failures.known(item)).check(item, route.names)
            return None
        try:
            preflight = await storage.threads.ledger(failures.preflight, item, storage.room)
        except Exception:  # noqa: BLE001 - the fill asks again, and fails where clients are helped past it
            return None
        preflight.failures.check(item, route.names)
        return preflight

    def join(
        self, item: Item, source: Source, preflight: Preflight | None = None, pace: Pace | None = None
    ) -> tuple[Fill, Outcome]:
        """Return the fill of an item, started if none runs, and which of both; `pace` as in `ensure`."""
        fill = self._find(item)
        if fill is not None:
            fill.add_source(source)
            return fill, Outcome.HIT if fill.progress.state.is_proved else Outcome.JOIN
        fill = Fill(item, source, self.facilities, pace or self.background, preflight)
        self._joinable[_key(item)] = fill
        self._running.add(fill)
        fill.task.add_done_callback(partial(self._forget, fill))
        return fill, Outcome.MISS

    async def ensure(self, item: Item, route: Route, pace: Pace | None = None) -> AsyncGenerator[int, None]:
        """Bring an item into the store with nobody waiting; yield how many bytes of it are here.

        `pace` is the background's unless given. When the last who wants it so leaves, the
        transfer stops, unless a client wanted it too. Raises ItemAbsent, BadItem,
        ItemUnobtainable, TooManyTransfers or StoreFault.
        """
        if self.facilities.storage.store.problem(item.digest, item.size_bytes, deep=False) is None:
            return
        source = Source(route, item.path, next(self._turns))
        problem = ""
        for _ in range(1 + tries(route)):
            preflight = await self.preflight(item, route)
            fill, _ = self.join(item, source, preflight, pace)
            async with aclosing(_follow(fill)) as progress:
                async for filled_bytes in progress:
                    yield filled_bytes
            error = fill.progress.error
            if error is None:
                return
            if not isinstance(error, TransferDiscarded):
                raise error
            problem = error.problem
        raise BadItem(item.digest, problem)

    async def ended(self) -> None:
        """Return when all fills that run now have ended."""
        await asyncio.gather(*(fill.task for fill in self._running), return_exceptions=True)

    async def close(self) -> None:
        """Stop all fills; their partial files stay for the next run.

        Those that are proved, and only have to reach the disk, are waited for.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_COMMIT_WAIT_S):
                for fill in list(self._running):
                    while fill.progress.state is State.PROVED:
                        await fill.progress.changed()
        for fill in self._running:
            fill.task.cancel()
        await self.ended()

    def _find(self, item: Item) -> Fill | None:
        fill = self._joinable.get(_key(item))
        return fill if fill is not None and fill.is_joinable else None

    def _forget(self, fill: Fill, _: asyncio.Task[None]) -> None:
        self._running.discard(fill)
        if self._joinable.get(_key(fill.item)) is fill:
            del self._joinable[_key(fill.item)]


async def _follow(fill: Fill) -> AsyncGenerator[int, None]:
    with fill.wanted_by(None):
        while not fill.progress.state.is_final:
            await fill.progress.changed()
            yield fill.progress.filled_bytes


def tries(route: Route) -> int:
    """Return how often an item may be begun anew: each origin may be wrong once, and spoil another's once."""
    return 2 * len(route)


def _key(item: Item) -> _Key:
    return item.digest, item.size_bytes

"""A prefetch step by step: check the lists, choose, plan, see that it fits, pin, fetch, unpin the rest.

The one recipe: a rule and the command differ in what they order and in who watches.
One bad item stops no other. What arrived stays when the work is interrupted,
and the next run goes on from there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.fills.pace import Pace
from proxy.jobs.choosing import Chooser, Chosen
from proxy.jobs.pins import pin_also, pin_only
from proxy.jobs.plan import Forecast, Plan, make_plan
from proxy.jobs.selection import Selection
from proxy.jobs.transfers import fetch, known_rate
from proxy.jobs.watching import FetchReport, Watcher
from proxy.readable import counted, size
from proxy.service.cache import Cache
from proxy.store.protocols import PruneStore, ReadStore
from proxy.store.room import Room
from proxy.store.storage import Storage
from proxy.system.threads import Threads


class NoSpace(ProxyError):
    """A plan that does not fit, even if all that may go were evicted."""

    def __init__(self, forecast: Forecast) -> None:
        kept, free, why = size(forecast.min_free_bytes), size(forecast.free_bytes), ""
        if not forecast.is_disk_short:
            why = " ([cache] limit allows no more)"
        elif forecast.min_free_bytes:
            why = f" ([cache] min_free keeps {kept} of the disk's {free} free)"
        super().__init__(
            f"it does not fit, {size(forecast.missing_bytes)} are lacking{why}: raise [cache] limit, "
            "free disk space, or let go of pins (`stats` lists them, `unpin --name` drops one)"
        )
        self.missing_bytes = forecast.missing_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a prefetch is to bring, and how."""

    mirrors: tuple[str, ...]
    selection: Selection
    choose: Chooser
    """Says which items that means, and which names nothing has."""
    pin: str
    """The name under which it is kept."""
    hold_s: float
    """How long items stay that the pin kept before and that are not wanted any more."""
    transfers: int
    """Items at a time."""
    pace: Pace | None = None
    """The background's unless given."""
    about: str = ""
    """What is ordered, in words, where mirrors and selection do not say it."""


class Prefetch:
    """One run of the recipe, and what has come of it so far."""

    def __init__(self, cache: Cache, order: Order, watcher: Watcher) -> None:
        self._cache = cache
        self._order = order
        self._watcher = watcher
        self.unchecked: dict[str, str] = {}
        """Why the lists of some mirrors could not be checked, and are used as they were."""
        self.chosen: Chosen | None = None
        self.plan: Plan | None = None
        self.report: FetchReport | None = None
        """Of the transfers, once what is wanted is pinned."""
        self.is_complete = False
        """Whether all that the selection means by lists of now is here, and nothing else is kept for it."""

    async def rehearse(self) -> None:
        """Find out what a run would do, and change nothing. Raises what `run` raises before it pins."""
        await self._check_lists(self._cache.refresh)
        await self._make_plan()

    async def rehearse_for(self, real: PruneStore) -> None:
        """Find out what a run would do to another store, of which this cache knows the records and lists.

        Raises what `run` raises before it pins.
        """
        await self._make_plan_in(real, self._cache.storage.room_in(real))

    async def run(self) -> None:
        """Fetch and keep what is ordered.

        Raises NoSpace, StoreFault, and what the order's `choose` raises. Items that
        fail are in the report, and so is why none was tried.
        """
        cache, order = self._cache, self._order
        await self._check_lists(cache.refresh_all_flavours)
        chosen, plan = await self._make_plan()
        # Pinned before it arrives, so that clients' items do not push it out again.
        await pin_also(cache, order.pin, plan)
        self.report = report = FetchReport.of(plan)
        if plan.missing and all(map(cache.is_offline, {one.mirror for one in plan.missing})):
            report.untried = _while_offline(plan, is_configured=cache.offline.is_configured)
            return
        self._watcher.begun(plan)
        await fetch(cache, plan, order.transfers, report, self._watcher, order.pace)
        if not (self.unchecked or chosen.unprovable or report.failures):
            await pin_only(cache, order.pin, plan, order.hold_s)
            self.is_complete = True

    async def _check_lists(self, check: Callable[[str], Awaitable[str | None]]) -> None:
        mirrors = self._order.mirrors
        for mirror, problem in zip(mirrors, await asyncio.gather(*map(check, mirrors)), strict=True):
            if problem is not None:
                self.unchecked[mirror] = problem
                self._watcher.unchecked(mirror, problem)

    async def _make_plan(self) -> tuple[Chosen, Plan]:
        """Return what the selection means, and what fetching it takes. Raises NoSpace if it does not fit."""
        storage = self._cache.storage
        return await self._make_plan_in(storage.store, storage.room)

    async def _make_plan_in(self, store: ReadStore, room: Room) -> tuple[Chosen, Plan]:
        cache, order = self._cache, self._order
        self.chosen = chosen = await order.choose(cache, order.mirrors, order.selection)
        self._watcher.chosen(chosen)
        self.plan = plan = await cache.storage.threads.slow(
            make_plan,
            chosen.wanted,
            lambda item: store.stored_bytes(item.digest, item.size_bytes),
            lambda item: store.is_whole(item.digest, item.size_bytes),
        )
        forecast = await _foreseen(cache, plan, room)
        self._watcher.planned(plan, forecast)
        if forecast.missing_bytes > 0:
            raise NoSpace(forecast)
        return chosen, plan


def _while_offline(plan: Plan, *, is_configured: bool) -> str:
    """Say once, for all items that are not here, why none of them is tried."""
    lacking = f"{counted(len(plan.missing), 'item')} of {len(plan.wanted)}"
    remedy = "its configuration says so" if is_configured else "`sstream-proxy offline off` ends that"
    return f"the proxy is offline ({remedy}), and {lacking} cannot be fetched"


async def make_sure_of_room(storage: Storage, needed_bytes: int, wanted: Collection[Digest]) -> None:
    """Raise NoSpace if so much does not fit, even if all were evicted that is not wanted."""
    forecast = await foresee_room(storage.threads, storage.room, needed_bytes, wanted)
    if forecast.missing_bytes > 0:
        raise NoSpace(forecast)


async def foresee_room(
    threads: Threads, room: Room, needed_bytes: int, wanted: Collection[Digest]
) -> Forecast:
    """Return what so many bytes would do to the store."""
    return await threads.ledger(_foresee, room, needed_bytes, wanted)


async def _foreseen(cache: Cache, plan: Plan, room: Room) -> Forecast:
    """Return what a plan would do to the store, and how long it takes."""

    def foresee() -> Forecast:
        forecast = _foresee(room, plan.fetch_bytes, plan.digests)
        if not plan.missing:
            return replace(forecast, seconds=0.0)
        rate = known_rate(cache, plan)
        return forecast if rate is None else replace(forecast, seconds=plan.fetch_bytes / rate)

    return await cache.storage.threads.ledger(foresee)


def _foresee(room: Room, needed_bytes: int, wanted: Collection[Digest]) -> Forecast:
    """Return what so many bytes would do to the store. Blocks; for the ledger's thread."""
    free_bytes, evicted, missing_bytes = room.foresee(needed_bytes, wanted)
    return Forecast(
        needed_bytes=needed_bytes,
        free_bytes=free_bytes,
        evicted=tuple(evicted),
        missing_bytes=missing_bytes,
        min_free_bytes=room.min_free_bytes,
        seconds=None,
    )

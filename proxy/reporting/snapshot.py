"""The state of the proxy as JSON values: what `/-/stats`, the dashboard and `stats` show.

Names are stable within a format; the OpenAPI description documents them.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from proxy import __version__
from proxy.counting.now import read_now
from proxy.counting.totals import Totals, read_totals
from proxy.fills.records import LastWrongCopy, last_wrong_copies
from proxy.jobs.importing.lacking import Lacks, LacksOfNow
from proxy.jobs.importing.waiting import Waiting, all_waiting
from proxy.jobs.requested import Requested, requested
from proxy.jobs.rulebook import RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import ScrubState
from proxy.jobs.scrub import read_state as read_scrub_state
from proxy.recordings.recording import Recording
from proxy.reporting import figures
from proxy.reporting.problems import find_problems
from proxy.service.cache import Cache
from proxy.store.files import StoreFault
from proxy.store.owners import Owner, find_strangers
from proxy.store.reservations import Arriving
from proxy.store.usage import StoreUsage
from proxy.store.without_room import WithoutRoom, read_without_room

_Read = TypeVar("_Read")

FORMAT = "sstream-proxy-stats:1"


class Snapshot(NamedTuple):
    """The state at a moment."""

    stats: dict[str, Any]
    totals: Totals
    taken_at: float
    """Unix seconds."""


class _OfLedger(NamedTuple):
    """What the ledger says, or what can be said without it."""

    usage: StoreUsage
    arriving: list[Arriving]
    scrub: ScrubState
    rules: list[dict[str, Any]]
    requested: dict[str, Requested]
    without_room: list[WithoutRoom]
    wrong_copies: dict[str, LastWrongCopy]
    waiting: dict[str, tuple[Waiting, ...]]
    """The generations that were imported and are not complete, by mirror."""
    unread: list[str]
    """Why something had to be said without it."""


class Observer:
    """Takes snapshots."""

    def __init__(
        self,
        cache: Cache,
        rules: Sequence[Rule],
        book: RuleBook,
        counts: Path,
        limit_bytes_s: int | None,
        clock: Callable[[], float],
        is_offline: Callable[[], bool],
    ) -> None:
        """Take them for a server that is offline or not: this process itself may ask no origin."""
        self._cache = cache
        self._rules = rules
        self._book = book
        self.counts = counts
        """Where processes count."""
        self._is_offline = is_offline
        self._lacks = LacksOfNow(cache.storage.store)
        self._limit_bytes_s = limit_bytes_s
        """Of all that comes from upstream."""
        self.clock = clock
        self._taking: asyncio.Task[Snapshot] | None = None

    async def snapshot(self) -> Snapshot:
        """Return the state of now; those who ask while it is being taken share it."""
        if self._taking is None:
            self._taking = asyncio.create_task(self._take(), name="snapshot")
            self._taking.add_done_callback(self._end)
        return await asyncio.shield(self._taking)

    async def _take(self) -> Snapshot:
        now, slow = self.clock(), self._cache.storage.threads.slow
        mirrors = await self._cache.status()
        totals = await slow(read_totals, self.counts)
        now_doing = await slow(read_now, self.counts)
        of_ledger = await self._read_ledger()
        is_offline, lockfile = self._is_offline(), self._cache.delivery.lockfile
        is_asked = not (is_offline or lockfile)
        stats: dict[str, Any] = {
            "format": FORMAT,
            "version": __version__,
            "now": now,
            "offline": is_offline,
            "total": figures.traffic(totals.all_mirrors, now),
            "mirrors": {
                name: {
                    **figures.traffic(totals.mirrors[name], now),
                    **state,
                    "is_asked": is_asked,
                    "is_stale": is_asked and state["is_stale"],
                    "waiting": await slow(self._waiting, of_ledger.waiting.get(name, ())),
                }
                for name, state in mirrors.items()
            },
            "origins": {
                name: figures.origin(sums, of_ledger.wrong_copies.get(name), now)
                for name, sums in sorted(totals.origins.items())
            },
            "store": await self._store(of_ledger, totals.store.total()),
            "scrub": _scrub(of_ledger.scrub, totals.store.total()),
            "limits": totals.limits.total(),
            "transfers": {**now_doing._asdict(), **figures.transfers(totals.transfers)},
            "parts": figures.parts(totals.parts),
            "upstream": figures.upstream(totals.all_mirrors, self._limit_bytes_s, now),
            "cuts": {"total": totals.cuts.total(), "last_hour": totals.cuts.since(now, figures.HOUR_S)},
            "log": {
                "dropped_lines": totals.log.total()["dropped lines"],
                "dropped_last_hour": totals.log.since(now, figures.HOUR_S)["dropped lines"],
            },
            "fills": list(map(_fill, of_ledger.arriving)),
            "prefetch": of_ledger.rules,
            "requested": [_requested(name, one) for name, one in of_ledger.requested.items()],
            "recordings": [_recording(one) for one in await slow(self._cache.recorder.running)],
            "lockfile": lockfile,
        }
        stats["problems"] = [asdict(problem) for problem in find_problems(stats)]
        return Snapshot(stats, totals, now)

    async def _read_ledger(self) -> _OfLedger:
        storage, unread = self._cache.storage, list[str]()
        return _OfLedger(
            usage=await self._read(unread, storage.usage.read, storage.usage.read_from_disk),
            arriving=await self._read(unread, storage.reservations.arriving, list[Arriving]),
            scrub=await self._read(unread, lambda: read_scrub_state(storage.ledger), ScrubState),
            rules=await self._read(unread, self._read_rules, list[dict[str, Any]]),
            requested=await self._read(unread, lambda: requested(storage.ledger), dict[str, Requested]),
            without_room=await self._read(
                unread, lambda: read_without_room(storage.ledger, storage.store), list[WithoutRoom]
            ),
            wrong_copies=await self._read(
                unread, lambda: last_wrong_copies(storage.ledger), dict[str, LastWrongCopy]
            ),
            waiting=await self._read(
                unread, lambda: all_waiting(storage.ledger), dict[str, tuple[Waiting, ...]]
            ),
            unread=unread,
        )

    async def _store(self, of_ledger: _OfLedger, counts: dict[str, int]) -> dict[str, Any]:
        """Return the store's state as JSON values."""
        storage = self._cache.storage
        strangers = await storage.threads.slow(find_strangers, storage.data_dir, Owner.running())
        unwritten = await storage.threads.slow(storage.health.faults)
        # A damaged ledger may take what it cannot give.
        faults = list(dict.fromkeys([*unwritten, *of_ledger.unread]))
        return {
            **of_ledger.usage._asdict(),
            "is_writable": not faults,
            "faults": faults,
            "without_room": [
                {"path": one.path, "size_bytes": one.size_bytes} for one in of_ledger.without_room
            ],
            "strangers": None
            if strangers is None
            else {"text": str(strangers), "remedy": strangers.remedy, "files": len(strangers.paths)},
            "evicted_blobs": counts["evicted blobs"],
            "evicted_bytes": counts["evicted bytes"],
        }

    async def _read(
        self, unread: list[str], read: Callable[[], _Read], otherwise: Callable[[], _Read]
    ) -> _Read:
        """Return what the ledger says, or what can be said without it; `unread` gets why that was needed."""
        try:
            return await self._cache.storage.threads.slow(read)
        except StoreFault as fault:
            unread.append(str(fault))
            return await self._cache.storage.threads.slow(otherwise)

    def _end(self, _: asyncio.Task[Snapshot]) -> None:
        self._taking = None

    def _waiting(self, found: Sequence[Waiting]) -> list[dict[str, Any]]:
        """Return what is known of generations that wait. Blocks."""
        return [_waiting(one, self._lacks.of(one)) for one in found]

    def _read_rules(self) -> list[dict[str, Any]]:
        """Return what is known of each rule. Blocks."""
        told = []
        for rule in self._rules:
            page = self._book.page(rule.name)
            told.append(
                {
                    "name": rule.name,
                    "mirror": rule.mirror,
                    "selection": str(rule.selection()),
                    "schedule": rule.schedule,
                    "is_running": self._book.is_running(rule.name),
                    "next_at": page.next_at,
                    "complete_at": page.complete_at,
                    "last": None if page.last is None else asdict(page.last),
                }
            )
        return told


def _waiting(one: Waiting, lacks: Lacks) -> dict[str, Any]:
    return {
        "generation": one.generation,
        "updated": one.updated,
        "bundle": one.bundle,
        "since": one.since,
        "missing_files": lacks.files,
        "missing_bytes": lacks.bytes,
    }


def _scrub(state: ScrubState, counts: dict[str, int]) -> dict[str, Any]:
    return {
        **asdict(state),
        "checked_blobs": counts["checked blobs"],
        "checked_bytes": counts["checked bytes"],
        "damaged_blobs": counts["damaged"],
        "repaired_blobs": counts["repaired"],
    }


def _requested(pin: str, one: Requested) -> dict[str, Any]:
    return {
        "pin": pin,
        "mirrors": list(one.mirrors),
        "selection": pin.partition(": ")[2],
        "asked_at": one.asked_at,
        "ended_at": one.ended_at,
        "problem": one.problem,
        "fetched_bytes": one.fetched_bytes,
    }


def _recording(one: Recording) -> dict[str, Any]:
    # Whose requests it takes is for admins, as is what each client asked for.
    return {"name": one.name, "since": one.since, "until": one.until, "mirrors": list(one.mirrors)}


def _fill(one: Arriving) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "path": one.label,
        "size_bytes": one.size_bytes,
        "filled_bytes": one.arrived_bytes,
        "rate_bytes_s": round(one.rate_bytes_s),
        "remaining_s": None if one.remaining_s is None else round(one.remaining_s, 1),
    }

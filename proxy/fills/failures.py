"""Which origins failed of late to give an item, so that they are not asked for it again at once.

Shared by all workers through the ledger. A failure names an origin: an item counts
as bad once all of a mirror's origins have failed. A block is short at first, for what stood
in the way may be gone in a moment (a login page, a copy half uploaded), and doubles
each time the same is found again. Who sent which wrong bytes is found out in `wrong_bytes.py`.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from proxy.fills import records
from proxy.fills.errors import BadItem
from proxy.fills.records import ABSENT, BLOCKED, SENT_PARTS, UNREACHABLE, Blocked, Unreachable, name_of
from proxy.moments import lasts_until, within
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Doubts
from proxy.sources.errors import ItemAbsent
from proxy.store.ledger import LedgerUnavailable
from proxy.store.records import known
from proxy.store.room import Room
from proxy.store.storage import Storage

_MOST_DOUBLINGS = 10


class Block(NamedTuple):
    """How long an origin is not asked for an item, in seconds."""

    first_s: float
    limit_s: float

    def length_s(self, times: int) -> float:
        """Return how long, when the same was found so many times (from 1)."""
        return float(min(self.first_s * 2 ** min(times - 1, _MOST_DOUBLINGS), self.limit_s))


WRONG_LENGTH = Block(5.0, 30.0)
"""Asking again costs one request."""
WRONG_BYTES = Block(15.0, 300.0)
"""Asking again costs the whole item."""

_LONGEST_BLOCK_S = max(WRONG_LENGTH.limit_s, WRONG_BYTES.limit_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownFailures:
    """What the ledger says against the origins of an item."""

    wrong_at: Mapping[str, str] = field(default_factory=dict)
    """Origins that are not to be asked for it now, or URLs that they redirected to, and why."""
    absent_at: frozenset[str] = frozenset()
    """Origins that have nothing at its path."""
    is_mixed: bool = False
    """Whether parts from several origins together did not match its digest."""
    is_suspect: bool = False
    """Whether anything was wrong with copies of it of late, blocked or not."""
    distrusted_s: Mapping[str, float] = field(default_factory=dict)
    """Origins that sent wrong bytes of anything, and for how many more seconds they are asked last."""

    @property
    def doubts(self) -> Doubts:
        """What a pull has to know of it."""
        return Doubts(wrong_at=self.wrong_at, is_mixed=self.is_mixed, is_suspect=self.is_suspect)

    def check(self, item: Item, origins: Collection[str]) -> None:
        """Raise ItemAbsent or BadItem when none of these origins had the item right a short while ago."""
        if self.absent_at.issuperset(origins):
            raise ItemAbsent(item.path)
        if (self.wrong_at.keys() | self.absent_at).issuperset(origins):
            found = [f"{name}: {self.wrong_at[name]}" for name in sorted(origins) if name in self.wrong_at]
            raise BadItem(item.digest, "; ".join(found))


class Preflight(NamedTuple):
    """What the ledger says to a fill that may begin."""

    failures: KnownFailures
    has_room: bool


class Failures:
    """Records which items are bad or absent, and where.

    Badness is a fact about a digest and size, absence one about a path. `clock`
    gives Unix seconds. What cannot be written for want of a ledger is not known later: no harm.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._clock = clock

    def preflight(self, item: Item, room: Room) -> Preflight:
        """Ask the ledger all that a fill has to know, in one visit. Blocks. Raises LedgerUnavailable."""
        return Preflight(self.read(item), room.may_fit(item.digest, item.size_bytes))

    async def known(self, item: Item) -> KnownFailures:
        """Return what is known against the origins of an item; nothing when the ledger cannot be read."""
        with contextlib.suppress(LedgerUnavailable):
            return await self._threads.ledger(self.read, item)
        return KnownFailures()

    def read(self, item: Item) -> KnownFailures:
        """Return what is known against the origins of an item. Blocks. Raises LedgerUnavailable."""
        name = name_of(item)
        found = self._ledger.records_at(BLOCKED.key(name), ABSENT.key(item.path), SENT_PARTS.key(name))
        blocked = BLOCKED.among(self._ledger, found, name)
        absent = ABSENT.among(self._ledger, found, item.path)
        is_mixed = SENT_PARTS.key(name) in found
        now = self._clock()
        return KnownFailures(
            wrong_at={
                origin: wrong.problem
                for origin, wrong in (known(blocked) or {}).items()
                if lasts_until(wrong.until, now, _LONGEST_BLOCK_S)
            },
            absent_at=frozenset(
                origin
                for origin, until in (known(absent) or {}).items()
                if lasts_until(until, now, records.ABSENT_FOR_S)
            ),
            is_mixed=is_mixed,
            is_suspect=is_mixed or blocked is not None,
            distrusted_s={
                origin: copy.distrusted_until - now
                for origin, copy in records.last_wrong_copies(self._ledger).items()
                if copy.is_distrusted(now)
            },
        )

    def block(self, item: Item, wrong: Mapping[str, str], block: Block) -> None:
        """Record that these origins have wrong bytes: name and problem each. Blocks."""
        name = name_of(item)
        with self._ledger.transaction():
            blocked = dict(known(BLOCKED.read(self._ledger, name)) or {})
            for origin, problem in wrong.items():
                times = blocked[origin].times + 1 if origin in blocked else 1
                blocked[origin] = Blocked(problem, times, self._clock() + block.length_s(times))
            BLOCKED.write(self._ledger, blocked, name, expire_s=records.FAILURES_KEPT_FOR_S)

    def unblock(self, item: Item, origins: Collection[str]) -> None:
        """Forget what was wrong at these origins: they have delivered the item. Blocks."""
        name = name_of(item)
        with self._ledger.transaction():
            blocked = known(BLOCKED.read(self._ledger, name)) or {}
            left = {origin: wrong for origin, wrong in blocked.items() if origin not in origins}
            if left:
                BLOCKED.write(self._ledger, left, name, expire_s=records.FAILURES_KEPT_FOR_S)
            else:
                BLOCKED.forget(self._ledger, name)

    async def record_wrong(self, item: Item, wrong: Mapping[str, str], block: Block) -> None:
        """Record for a while that these origins have wrong bytes: name and problem each."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self.block, item, wrong, block)

    async def record_absent(self, absences: Mapping[str, Collection[str]]) -> None:
        """Record for a while that origins have nothing at a path: the origins for each path."""
        found = {path: origins for path, origins in absences.items() if origins}
        if found:
            with contextlib.suppress(LedgerUnavailable):
                await self._threads.ledger(self._add_absent, found)

    async def record_unreachable(self, item: Item, problem: str) -> None:
        """Record for a moment that no origin can be reached for an item."""
        record = Unreachable(problem, self._clock())
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._write_unreachable, item, record)

    async def unreachable(self, item: Item) -> str | None:
        """Return why no origin could be reached for an item a moment ago, None when nobody says so."""
        record = None
        with contextlib.suppress(LedgerUnavailable):
            record = known(await self._threads.ledger(UNREACHABLE.read, self._ledger, name_of(item)))
        if record is None or not within(record.at, self._clock(), records.UNREACHABLE_FOR_S):
            return None
        return record.problem

    def _write_unreachable(self, item: Item, record: Unreachable) -> None:
        UNREACHABLE.write(self._ledger, record, name_of(item), expire_s=records.UNREACHABLE_FOR_S)

    def _add_absent(self, absences: Mapping[str, Collection[str]]) -> None:
        until = self._clock() + records.ABSENT_FOR_S
        with self._ledger.transaction():
            for path, origins in absences.items():
                absent = dict(known(ABSENT.read(self._ledger, path)) or {}) | dict.fromkeys(origins, until)
                ABSENT.write(self._ledger, absent, path, expire_s=records.ABSENT_FOR_S)

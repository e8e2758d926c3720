"""Items that failed lately, so that they are not fetched again at once.

Shared by all workers through the ledger; every record expires by itself. It
names the origins that failed: an item counts as bad once all of a mirror's have.
A block is short at first, for what stood in the way may be gone in a moment (a
login page, a copy half uploaded), and doubles each time the same is found again.
"""

import contextlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.fills import told
from proxy.moments import lasts_until, within
from proxy.simplestreams.model import Item
from proxy.sources.pull import ItemAbsent
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.storage import Storage

_ABSENT_FOR_S = 60.0
_IN_TROUBLE_FOR_S = 15.0
"""Longer than the pauses between tries."""
_REMEMBERED_FOR_S = 3600.0
"""How long a block that is over still counts for the length of the next one."""
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


class Wrong(NamedTuple):
    """What is known of wrong copies of an item."""

    blocked: Mapping[str, str]
    """The origins that are not to be asked for it now, and why."""
    is_any: bool
    """Whether something was wrong of late, blocked or not."""


class BadItem(ProxyError):
    """An item whose bytes are not those that the signed list promises."""

    def __init__(self, digest: Digest, problem: str) -> None:
        super().__init__(f"upstream's bytes for {digest} are wrong: {problem}")
        self.digest = digest
        self.problem = problem


class Failures:
    """Remembers which items are bad or absent.

    Badness is a fact about a digest and size, absence one about a path. `clock`
    gives Unix seconds.
    """

    def __init__(self, storage: Storage, clock: Callable[[], float]) -> None:
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._clock = clock

    async def remember_wrong(self, item: Item, wrong: Mapping[str, str], block: Block) -> None:
        """Note for a while that these origins have wrong bytes: name and problem each."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._add_wrong, _bad_key(item), wrong, block)

    async def forgive(self, item: Item, origins: Collection[str]) -> None:
        """Forget what was wrong at these origins: they have delivered it."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._remove_wrong, _bad_key(item), origins)

    async def remember_absent(self, path: str, origins: Collection[str]) -> None:
        """Note for a while that these origins have nothing at a path."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._add_absent, _absent_key(path), origins)

    async def check(self, item: Item, origins: Collection[str]) -> None:
        """Raise BadItem or ItemAbsent when none of these origins had it right a short while ago."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self.check_now, item, origins)

    async def remember_trouble(self, item: Item, problem: str) -> None:
        """Note for a moment that no origin can be had for an item."""
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._write_trouble, item, problem)

    async def trouble(self, item: Item) -> str | None:
        """Return why no origin could be had for an item a moment ago, None when nobody says so."""
        with contextlib.suppress(LedgerUnavailable):
            return await self._threads.ledger(self._read_trouble, item)
        return None

    def _write_trouble(self, item: Item, problem: str) -> None:
        self._ledger.write(_trouble_key(item), [problem, self._clock()], expire_s=_IN_TROUBLE_FOR_S)

    def _read_trouble(self, item: Item) -> str | None:
        problem, at = told.trouble(self._ledger.record(_trouble_key(item))) or ("", 0.0)
        return problem if within(at, self._clock(), _IN_TROUBLE_FOR_S) else None

    def check_now(self, item: Item, origins: Collection[str]) -> None:
        """Raise what `check` raises. Blocks. Raises LedgerUnavailable too."""
        wrong, absent_at = self._recall(item)
        if absent_at.issuperset(origins):
            raise ItemAbsent(item.path)
        if (wrong.keys() | absent_at).issuperset(origins):
            found = [f"{name}: {wrong[name]}" for name in sorted(origins) if name in wrong]
            raise BadItem(item.digest, "; ".join(found))

    def wrong(self, item: Item) -> Wrong:
        """Return what was found wrong with the copies of an item of late. Blocks."""
        return self._wrong(self._ledger.record(_bad_key(item)))

    def _wrong(self, record: Any) -> Wrong:
        now = self._clock()
        blocked = {
            name: problem
            for name, (problem, _, until) in told.wrong_copies(record).items()
            if lasts_until(until, now, _LONGEST_BLOCK_S)
        }
        return Wrong(blocked, is_any=record is not None)

    def _recall(self, item: Item) -> tuple[Mapping[str, str], set[str]]:
        bad_key, absent_key = _bad_key(item), _absent_key(item.path)
        found = self._ledger.records_at(bad_key, absent_key)
        absent = told.absences(found.get(absent_key))
        now = self._clock()
        return self._wrong(found.get(bad_key)).blocked, {
            name for name, until in absent.items() if lasts_until(until, now, _ABSENT_FOR_S)
        }

    def _add_wrong(self, key: str, wrong: Mapping[str, str], block: Block) -> None:
        with self._ledger.transaction():
            record = told.wrong_copies(self._ledger.record(key))
            for name, problem in wrong.items():
                times = record[name][1] + 1 if name in record else 1
                record[name] = [problem, times, self._clock() + block.length_s(times)]
            self._ledger.write(key, record, expire_s=_REMEMBERED_FOR_S)

    def _remove_wrong(self, key: str, origins: Collection[str]) -> None:
        with self._ledger.transaction():
            record = told.wrong_copies(self._ledger.record(key))
            left = {name: known for name, known in record.items() if name not in origins}
            if left:
                self._ledger.write(key, left, expire_s=_REMEMBERED_FOR_S)
            else:
                self._ledger.forget(key)

    def _add_absent(self, key: str, origins: Collection[str]) -> None:
        with self._ledger.transaction():
            record = told.absences(self._ledger.record(key))
            record |= dict.fromkeys(origins, self._clock() + _ABSENT_FOR_S)
            self._ledger.write(key, record, expire_s=_ABSENT_FOR_S)


def forget_item(ledger: Ledger, digest: Digest) -> None:
    """Forget all that was found wrong with the copies of a digest. Blocks."""
    for prefix in ("bad", "mixed"):
        for key in ledger.keys(f"{prefix}/{digest}/"):
            ledger.forget(key)


def forget_absence(ledger: Ledger, path: str) -> None:
    """Forget that a path was absent. Blocks."""
    ledger.forget(_absent_key(path))


def _bad_key(item: Item) -> str:
    return f"bad/{item.digest}/{item.size_bytes}"


def _trouble_key(item: Item) -> str:
    return f"trouble/{item.digest}/{item.size_bytes}"


def _absent_key(path: str) -> str:
    return f"absent/{path}"

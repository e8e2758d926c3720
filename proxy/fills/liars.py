"""Who sent wrong bytes, found by hash, and what becomes of it.

One origin's bytes that do not match convict it. When several origins
contributed, the digest of each part is kept, the item is fetched whole from one
of them, and the parts that differ from what is proved tell who lied.

An origin that lied is not asked for that item for a while (`failures.py`), is
asked last for everything else, in all workers, and is named in the log and in
the figures.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.fills import told
from proxy.fills.failures import WRONG_BYTES, WRONG_LENGTH, Failures
from proxy.moments import lasts_until
from proxy.simplestreams.model import Item
from proxy.sources.errors import WrongLength, redirected
from proxy.sources.pull import Doubts, Part
from proxy.sources.route import DISTRUST_S, Route
from proxy.store.ledger import Ledger, LedgerUnavailable
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_TOLD_FOR_S = 24 * 3600.0
_MIXED_FOR_S = 3600.0
_LIAR = "liar/"
_READ_BYTES = 1024 * 1024
_ADVICE = (
    "nothing of it is kept or served; the origin is asked last for a while. "
    "Mend its copy, or take it out of the mirror's origins"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known against the origins of an item when its transfer begins."""

    doubts: Doubts = field(default_factory=Doubts)
    distrust_s: Mapping[str, float] = field(default_factory=dict)
    """Origins that lied about anything, and for how many more seconds they are asked last."""
    is_any: bool = False
    """Whether there is a record of this item that a good transfer should end."""


class Culprit(NamedTuple):
    """Who sent wrong bytes: an origin, and the URL that it had redirected to, if any."""

    origin: str
    place: str = ""


class Liars:
    """Finds and remembers origins that sent wrong bytes. `clock` gives Unix seconds."""

    def __init__(self, storage: Storage, failures: Failures, clock: Callable[[], float]) -> None:
        self.failures = failures
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._counters = storage.counters
        self._clock = clock

    async def recall(self, item: Item) -> Memory:
        """Return what is known against the origins of an item."""
        with contextlib.suppress(LedgerUnavailable):
            return await self._threads.ledger(self.look_up, item)
        return Memory()

    async def wrong_lengths(self, item: Item, found: Sequence[WrongLength]) -> None:
        """Note origins whose copy has another size. That costs little, and may be a copy half uploaded."""
        if not found:
            return
        for error in found:
            await self._tell(item, error.origin, error.problem, distrust_s=0.0)
        await self.failures.remember_wrong(item, {one.origin: one.problem for one in found}, WRONG_LENGTH)

    async def judge(
        self, item: Item, parts: Sequence[Part], problem: str, fd: int, routes: Iterable[Route]
    ) -> None:
        """Note whose bytes did not match; `fd` holds them, as far as `parts` says in which part of it."""
        if len(parts) == 1 and (parts[0].start, parts[0].stop) == (0, item.size_bytes):
            await self.convict(item, Culprit(parts[0].origin, parts[0].place), problem, routes)
            return
        evidence = await self._threads.slow(_hash_parts, fd, parts)
        log.warning(
            "blob.mixed path=%s origins=%s problem=%s advice=%s",
            item.path,
            ",".join(sorted({part.origin for part in parts})),
            problem,
            "fetched whole from one origin to find out which of them is wrong",
        )
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._suspect, _mixed_key(item), evidence)

    async def convict(self, item: Item, culprit: Culprit, problem: str, routes: Iterable[Route]) -> None:
        """Note that an origin sent wrong bytes of an item, or redirected to where they came from.

        A redirector has other places to choose from: what it led to is blocked, and not the redirector.
        """
        name, place = culprit
        if not place:
            for route in routes:
                route.lied(name)
        where = problem + redirected(place)
        log.warning("origin.lied origin=%s path=%s problem=%s advice=%s", name, item.path, where, _ADVICE)
        await self._tell(item, name, where, 0.0 if place else DISTRUST_S)
        await self.failures.remember_wrong(item, {place or name: problem}, WRONG_BYTES)

    async def settle(
        self, item: Item, fd: int, deliverers: set[str], routes: Sequence[Route], known: Doubts
    ) -> None:
        """Compare what `deliverers` have just sent, which is proved and in `fd`, with what was not.

        Who was `known` to be wrong is not convicted twice.
        """
        await self.failures.forgive(item, deliverers)
        liars: set[Culprit] = set()
        with contextlib.suppress(LedgerUnavailable):
            evidence = told.parts(await self._threads.ledger(self._ledger.record, _mixed_key(item)))
            liars = await self._threads.slow(_differing, fd, evidence)
            await self._threads.ledger(self._ledger.forget, _mixed_key(item))
        for culprit in sorted(liars):
            if (culprit.place or culprit.origin) not in known.wrong_at:
                problem = "a part that it sent differs from what was proved since"
                await self.convict(item, culprit, problem, routes)

    async def _tell(self, item: Item, name: str, problem: str, distrust_s: float) -> None:
        self._counters.origin(name).wrong()
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._note_liar, name, item.path, problem, distrust_s)

    def look_up(self, item: Item) -> Memory:
        """Return what is known against the origins of an item. Blocks. Raises LedgerUnavailable."""
        is_mixed = self._ledger.record(_mixed_key(item)) is not None
        wrong = self.failures.wrong(item)
        now = self._clock()
        distrust_s = {
            name: copy["distrusted_until"] - now
            for name, copy in told_of_liars(self._ledger).items()
            if is_distrusted(copy, now)
        }
        is_any = is_mixed or wrong.is_any
        return Memory(
            doubts=Doubts(wrong_at=wrong.blocked, is_mixed=is_mixed, is_suspect=is_any),
            distrust_s=distrust_s,
            is_any=is_any,
        )

    def _suspect(self, key: str, evidence: list[list[Any]]) -> None:
        with self._ledger.transaction():
            known = told.parts(self._ledger.record(key))
            self._ledger.write(key, known + evidence, expire_s=_MIXED_FOR_S)

    def _note_liar(self, name: str, path: str, problem: str, distrust_s: float) -> None:
        now = self._clock()
        with self._ledger.transaction():
            known = told.wrong_copy(self._ledger.record(_LIAR + name))
            until = now + distrust_s if distrust_s else 0.0
            if known is not None and is_distrusted(known, now):
                until = max(until, known["distrusted_until"])
            copy = {
                "path": path,
                "problem": problem,
                "at": now,
                "distrusted_until": until,
            }
            self._ledger.write(_LIAR + name, copy, expire_s=_TOLD_FOR_S)


def told_of_liars(ledger: Ledger) -> dict[str, dict[str, Any]]:
    """Return the last wrong copy of each origin that had one of late. Blocks.

    Each is {"path", "problem", "at", "distrusted_until"}, in Unix seconds.
    """
    copies = {key.removeprefix(_LIAR): told.wrong_copy(known) for key, known in ledger.records(_LIAR).items()}
    return {name: copy for name, copy in copies.items() if copy is not None}


def is_distrusted(copy: Mapping[str, Any], now: float) -> bool:
    """Whether an origin is asked last, by what `told_of_liars` says of it."""
    return lasts_until(copy["distrusted_until"], now, DISTRUST_S)


def _hash_parts(fd: int, parts: Sequence[Part]) -> list[list[Any]]:
    return [
        [part.origin, part.start, part.stop, _hash_range(fd, part.start, part.stop), part.place]
        for part in parts
    ]


def _differing(fd: int, evidence: list[list[Any]]) -> set[Culprit]:
    # An earlier release did not say where an origin had redirected to.
    return {
        Culprit(name, *place)
        for name, start, stop, digest, *place in evidence
        if _hash_range(fd, start, stop) != digest
    }


def _hash_range(fd: int, start: int, stop: int) -> Digest:
    digest = hashlib.sha256()
    while start < stop and (data := os.pread(fd, min(_READ_BYTES, stop - start), start)):
        digest.update(data)
        start += len(data)
    return Digest(digest.hexdigest())


def _mixed_key(item: Item) -> str:
    return f"mixed/{item.digest}/{item.size_bytes}"

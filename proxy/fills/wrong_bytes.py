"""Which origin sent wrong bytes: found by hash, recorded, said in the log and in the figures.

Bytes of one origin that do not match the digest convict it. When several origins
contributed, the hash of each part is recorded, the item is taken from one of them alone
(`kept_parts.py`: what it had sent is not fetched again), and the parts that differ from what
is then proved show who was wrong.

An origin that sent wrong bytes is not asked for that item for a while (`failures.py`),
and is asked last for everything else, in all workers.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from proxy.digest import Digest
from proxy.fills import records
from proxy.fills.failures import WRONG_BYTES, WRONG_LENGTH, Block, Failures, KnownFailures
from proxy.fills.kept_parts import KeptItem
from proxy.fills.records import LAST_WRONG_COPY, SENT_PARTS, LastWrongCopy, SentPart, name_of
from proxy.simplestreams.model import Item
from proxy.sources.errors import WrongLength, redirected
from proxy.sources.pull import Part
from proxy.sources.route import DISTRUST_S, Route
from proxy.store.ledger import LedgerUnavailable
from proxy.store.records import known
from proxy.store.storage import Storage

log = logging.getLogger(__name__)

_READ_BYTES = 1024 * 1024
_ADVICE = (
    "nothing of it is kept or served; the origin is asked last for a while. "
    "Mend its copy, or take it out of the mirror's origins"
)


class Culprit(NamedTuple):
    """Who sent wrong bytes: an origin, and the URL that it had redirected to, if any."""

    origin: str
    place: str = ""

    @property
    def blocked(self) -> str:
        """What is not asked for the item: a redirector has other places to choose from."""
        return self.place or self.origin


class WrongBytes:
    """Finds and records the origins that sent wrong bytes. `clock` gives Unix seconds."""

    def __init__(self, storage: Storage, failures: Failures, clock: Callable[[], float]) -> None:
        self._failures = failures
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._counters = storage.counters
        self._clock = clock
        self.kept = KeptItem(storage.threads)
        """What several origins sent of an item, as long as it is not known who was wrong."""

    async def record_lengths(self, item: Item, found: Sequence[WrongLength]) -> None:
        """Record origins whose copy has another size. It may be half uploaded: they are not distrusted."""
        if found:
            wrong = {error.origin: error.problem for error in found}
            await self._record(item, wrong, wrong, WRONG_LENGTH, distrust_s=0.0)

    async def judge(
        self, item: Item, parts: Sequence[Part], problem: str, fd: int, routes: Iterable[Route]
    ) -> None:
        """Record the guilty origin, or the suspects; `fd` holds what they sent, where `parts` says."""
        if len(parts) == 1 and (parts[0].start, parts[0].stop) == (0, item.size_bytes):
            await self.convict(item, [Culprit(parts[0].origin, parts[0].place)], problem, routes)
            return
        if len({part.origin for part in parts}) > 1:
            self.kept.keep(item, fd, parts)
        evidence = await self._threads.slow(_hash_parts, fd, parts)
        log.warning(
            "blob.mixed path=%s origins=%s problem=%s advice=%s",
            item.path,
            ",".join(sorted({part.origin for part in parts})),
            problem,
            "completed from one origin alone to find out which of them is wrong",
        )
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._add_parts, item, evidence)

    async def convict(
        self, item: Item, culprits: Iterable[Culprit], problem: str, routes: Iterable[Route]
    ) -> None:
        """Record that these origins sent wrong bytes of an item, or redirected to where they came from.

        Of an origin that redirected, only the URL that it led to is blocked.
        """
        for culprit in culprits:
            self.kept.disbelieve(item, culprit.origin)
            if not culprit.place:
                for route in routes:
                    route.sent_wrong_bytes(culprit.origin)
            told = {culprit.origin: problem + redirected(culprit.place)}
            log.warning(
                "origin.wrong_bytes origin=%s path=%s problem=%s advice=%s",
                culprit.origin,
                item.path,
                told[culprit.origin],
                _ADVICE,
            )
            distrust_s = 0.0 if culprit.place else DISTRUST_S
            await self._record(item, told, {culprit.blocked: problem}, WRONG_BYTES, distrust_s)

    async def settle(
        self, item: Item, fd: int, deliverers: set[str], routes: Sequence[Route], before: KnownFailures
    ) -> None:
        """Clear the `deliverers` of an item, which is proved and in `fd`; convict whose parts differ from it.

        Who was known `before` to be wrong is not convicted twice.
        """
        self.kept.forget(item)
        with contextlib.suppress(LedgerUnavailable):
            evidence = await self._threads.ledger(self._take_evidence, item, deliverers)
            differing = await self._threads.slow(_differing, fd, evidence) if evidence else set()
            culprits = sorted(one for one in differing if one.blocked not in before.wrong_at)
            problem = "a part that it sent differs from what was proved since"
            await self.convict(item, culprits, problem, routes)

    async def _record(
        self, item: Item, told: Mapping[str, str], blocked: Mapping[str, str], block: Block, distrust_s: float
    ) -> None:
        """Record what was wrong at each origin, for people, and what is not to be asked for the item."""
        for origin in told:
            self._counters.origin(origin).wrong()
        with contextlib.suppress(LedgerUnavailable):
            await self._threads.ledger(self._write, item, told, blocked, block, distrust_s)

    def _write(
        self, item: Item, told: Mapping[str, str], blocked: Mapping[str, str], block: Block, distrust_s: float
    ) -> None:
        for origin, problem in told.items():
            self._write_last(origin, item.path, problem, distrust_s)
        self._failures.block(item, blocked, block)

    def _write_last(self, origin: str, path: str, problem: str, distrust_s: float) -> None:
        now = self._clock()
        with self._ledger.transaction():
            before = known(LAST_WRONG_COPY.read(self._ledger, origin))
            until = now + distrust_s if distrust_s else 0.0
            if before is not None and before.is_distrusted(now):
                until = max(until, before.distrusted_until)
            copy = LastWrongCopy(path=path, problem=problem, at=now, distrusted_until=until)
            LAST_WRONG_COPY.write(self._ledger, copy, origin, expire_s=records.WRONG_COPY_KEPT_FOR_S)

    def _add_parts(self, item: Item, parts: tuple[SentPart, ...]) -> None:
        name = name_of(item)
        with self._ledger.transaction():
            before = known(SENT_PARTS.read(self._ledger, name)) or ()
            SENT_PARTS.write(self._ledger, before + parts, name, expire_s=records.PARTS_KEPT_FOR_S)

    def _take_evidence(self, item: Item, deliverers: set[str]) -> tuple[SentPart, ...]:
        """Clear who has delivered an item, and return the parts that did not match, for the last time."""
        self._failures.unblock(item, deliverers)
        parts = known(SENT_PARTS.read(self._ledger, name_of(item))) or ()
        SENT_PARTS.forget(self._ledger, name_of(item))
        return parts


def _hash_parts(fd: int, parts: Sequence[Part]) -> tuple[SentPart, ...]:
    return tuple(
        SentPart(part.origin, part.start, part.stop, _hash_range(fd, part.start, part.stop), part.place)
        for part in parts
    )


def _differing(fd: int, parts: Iterable[SentPart]) -> set[Culprit]:
    return {
        Culprit(part.origin, part.place)
        for part in parts
        if _hash_range(fd, part.start, part.stop) != part.sha256
    }


def _hash_range(fd: int, start: int, stop: int) -> Digest:
    digest = hashlib.sha256()
    while start < stop and (data := os.pread(fd, min(_READ_BYTES, stop - start), start)):
        digest.update(data)
        start += len(data)
    return Digest(digest.hexdigest())

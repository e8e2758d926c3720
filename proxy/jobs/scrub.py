"""Scrubbing: hashing blobs again at a bounded rate, setting aside what is damaged, fetching it anew.

A blob is due when its last proof is older than it should be. So an interrupted
scrub goes on by itself, and what was proved otherwise meanwhile is passed over.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.moments import lies_ahead, within
from proxy.service.cache import Cache
from proxy.sources.throttle import TokenBucket
from proxy.store.ledger import Ledger
from proxy.store.records import Kind, known
from proxy.store.schema import Count, Moment, Schema, Unreadable

log = logging.getLogger(__name__)

_MOST_NAMED = 20
_TOLD_EVERY_S = 86400.0
"""When nothing is ever due, that is told so often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubPolicy:
    """How often and how fast; the rate is bytes a second, None is unlimited."""

    every_s: float = 30 * 86400.0
    """Every blob is hashed again this long after it was hashed last."""
    rate_bytes: int | None = 20 * 1024**2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrubState:
    """What scrubbing has come to. Times in Unix seconds."""

    asked_at: Moment = 0.0
    """Blobs hashed before this are due, however young their proof."""
    completed_at: Moment | None = None
    """When nothing was due any more."""
    due_blobs: Count = 0
    due_bytes: Count = 0
    damaged: tuple[str, ...] = ()
    """Digests found damaged last, and what became of them."""


_STATE = Kind("scrub", Schema(ScrubState))
_ASKED_AT = Kind("asked scrub", Schema(Moment))


def read_state(ledger: Ledger) -> ScrubState:
    """Return what scrubbing has come to; what cannot be read of that tells nothing. Blocks."""
    state = known(_STATE.read(ledger)) or ScrubState()
    return replace(state, asked_at=known(_ASKED_AT.read(ledger)) or 0.0)


class Unread(ProxyError):
    """A blob whose bytes could not be read now: that proves nothing against it."""


class Scrubber:
    """Proves blobs again, one by one."""

    def __init__(self, cache: Cache, policy: ScrubPolicy, clock: Callable[[], float]) -> None:
        self._cache = cache
        self._storage = cache.storage
        self._policy = policy
        self._clock = clock
        rate = policy.rate_bytes
        self._bucket = None if rate is None else TokenBucket(rate, time.monotonic)

    async def ask(self) -> None:
        """Make every blob due now."""
        await self._storage.threads.ledger(_ASKED_AT.write, self._storage.ledger, self._clock())

    async def state(self) -> ScrubState:
        """Return what scrubbing has come to."""
        return await self._storage.threads.slow(read_state, self._storage.ledger)

    async def run(self) -> None:
        """Hash all that is due, least lately proved first."""
        asked_at = await self._storage.threads.ledger(_ASKED_AT.read, self._storage.ledger)
        if isinstance(asked_at, Unreadable) or lies_ahead(asked_at or 0.0, self._clock()):
            await self.ask()  # Somebody did, and when cannot be told: now counts.
        state = await self.state()
        due = await self._storage.threads.slow(self._due, state)
        remaining_bytes = sum(size_bytes for _, size_bytes in due)
        unread = 0
        for number, (digest, size_bytes) in enumerate(due):
            state = replace(state, due_blobs=len(due) - number, due_bytes=remaining_bytes)
            if number % _MOST_NAMED == 0:
                await self._write(state)
            try:
                damage = await self._prove(digest, size_bytes)
            except Unread as error:
                log.warning("scrub.not_read problem=%s", error)
                unread += 1
                continue
            if damage is not None:
                state = replace(state, damaged=(damage, *state.damaged)[:_MOST_NAMED])
                await self._write(state)
            remaining_bytes -= size_bytes
        is_old = state.completed_at is None or not within(state.completed_at, self._clock(), _TOLD_EVERY_S)
        if not unread and (due or is_old or state.due_blobs):
            await self._write(replace(state, completed_at=self._clock(), due_blobs=0, due_bytes=0))
            log.info("scrub.completed blobs=%d", len(due))

    async def _prove(self, digest: Digest, size_bytes: int) -> str | None:
        """Hash one blob; return what was found and done about it, None if it is good."""
        storage = self._storage
        problem = await self._hash(digest)
        storage.counters.store.checked(size_bytes)
        if problem is None:
            await storage.threads.ledger(storage.proofs.record, digest)
            return None
        if problem == "":
            await storage.threads.ledger(storage.blobs.forget, digest)
            return None
        storage.counters.store.damaged()
        await storage.threads.disk(storage.store.set_aside, digest)
        await storage.threads.ledger(storage.blobs.forget, digest)
        repair = await self._repair(digest)
        log.error("blob.damaged digest=%s problem=%s repair=%s", digest, problem, repair)
        return f"{digest} {problem}: set aside, {repair}"

    async def _hash(self, digest: Digest) -> str | None:
        """Return what is wrong with a blob's bytes: None for nothing, empty text if it is gone.

        Raises Unread.
        """
        threads = self._storage.threads
        try:
            inspection = await threads.slow(self._storage.store.inspect, digest)
        except OSError as error:
            raise Unread(f"{digest} cannot be opened: {error.strerror}") from error
        if inspection is None:
            return ""
        hash_on = self._cache.first_bytes.resting(inspection.step)
        try:
            while count := await threads.slow(hash_on):
                if self._bucket is not None:
                    await self._bucket.take(count)
            is_damaged = await threads.slow(inspection.is_damaged)
        except OSError as error:
            raise Unread(f"{digest} cannot be read: {error.strerror}") from error
        finally:
            inspection.close()
        return "does not match its sha256" if is_damaged else None

    async def _repair(self, digest: Digest) -> str:
        """Fetch a blob again that was set aside; return what came of it."""
        found = self._cache.find_digest(digest)
        if found is None:
            return "no list names it any more"
        mirror, item, is_document = found
        if is_document:
            problem = await self._cache.refresh(mirror)
            if problem is not None:
                return f"not fetched again: {problem}"
            self._storage.counters.store.repaired()
            return "its mirror was checked again"
        try:
            async for _ in self._cache.ensure(mirror, item):
                pass
        except ProxyError as error:
            return f"not fetched again: {error}"
        self._storage.counters.store.repaired()
        return "fetched again"

    def _due(self, state: ScrubState) -> list[tuple[Digest, int]]:
        """Return digest and size of what is due, least lately proved first. Blocks."""
        blobs, now = self._storage.blobs, self._clock()
        # In the same moment counts as after: a blob proved when the scrub was asked for is proved.
        before = max(now - self._policy.every_s, state.asked_at)
        proofs = blobs.proofs()
        due = [
            (proofs.get(usage.digest, -math.inf), usage.digest, usage.size_bytes)
            for usage in blobs.usages()
            if proofs.get(usage.digest, -math.inf) < before
        ]
        return [(digest, size_bytes) for _, digest, size_bytes in sorted(due)]

    async def _write(self, state: ScrubState) -> None:
        await self._storage.threads.ledger(_STATE.write, self._storage.ledger, state)

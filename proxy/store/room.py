"""Room for what is about to arrive: space is reserved, and what was used least recently goes for it."""

import time
from collections.abc import Callable, Collection
from functools import partial

from proxy.digest import Digest
from proxy.store.eviction import Eviction
from proxy.store.eviction_order import Usage, choose_evicted
from proxy.store.protocols import PruneStore
from proxy.store.reservations import Reservations
from proxy.system.threads import Threads

_TRIES = 2
"""Once a turn has freed nothing, or all have freed twice what was missing at first."""
_TURN_S = 0.25
"""For removing, before others who need room have theirs: one blob may have to go, or thousands."""


class Room:
    """Keeps a store within its limits. Its coroutine chooses threads by itself; all else blocks."""

    def __init__(
        self,
        store: PruneStore,
        reservations: Reservations,
        eviction: Eviction,
        threads: Threads,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._reservations = reservations
        self._eviction = eviction
        self._threads = threads
        self._clock = clock

    def __repr__(self) -> str:
        return f"<Room in {self._store!r}: {self._reservations!r}>"

    async def reserve(self, digest: Digest, size_bytes: int, label: str = "", before_bytes: int = 0) -> bool:
        """Set space aside for a blob whose bytes begin to arrive; False when even eviction cannot make it.

        The ledger's thread only looks and writes; what has to go is removed by another, in turns.
        Others may take what one turn has freed. Then more goes, but not without end.
        """
        take = partial(self._reservations.take, digest, size_bytes, label, before_bytes)
        missing = await self._threads.ledger(take)
        left_bytes, left_tries = 2 * missing, _TRIES
        while missing > 0 and left_tries:
            freed_bytes = await self._threads.removal(self._make_space, digest, size_bytes)
            left_bytes -= freed_bytes
            if not freed_bytes or left_bytes <= 0:
                left_tries -= 1
            missing = await self._threads.ledger(take)
        return missing <= 0

    def _make_space(self, digest: Digest, size_bytes: int) -> int:
        """Remove what must go for a blob, unless others have made the space meanwhile; return its bytes."""
        self._reservations.release_dead()
        missing = self._reservations.missing_bytes(digest, size_bytes)
        until_s = self._clock() + _TURN_S
        if missing <= 0:
            return 0
        return self._eviction.make_space(missing, digest, is_over=lambda: self._clock() >= until_s)

    def may_fit(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether `reserve` would succeed; evicts nothing."""
        missing = self._reservations.missing_bytes(digest, size_bytes)
        return missing <= 0 or self._eviction.may_free(missing, digest)

    def foresee(self, needed_bytes: int, wanted: Collection[Digest]) -> tuple[int, list[Usage], int]:
        """Say what fetching `needed_bytes` would do, without doing it.

        Returns the free bytes, the blobs that would have to go, and how many
        bytes would be lacking all the same. What is wanted is never let go. What needs no room fits,
        however full the disk is.
        """
        if needed_bytes <= 0:
            return self._store.free_bytes(), [], 0
        missing = self._reservations.missing_for_all(needed_bytes, wanted)
        candidates = self._eviction.candidates()
        protected = self._eviction.protected() | set(wanted)
        chosen = choose_evicted(candidates, protected, missing)
        may_go = sum(usage.size_bytes for usage in candidates if usage.digest not in protected)
        lacking = 0 if chosen or missing <= 0 else missing - may_go
        return self._store.free_bytes(), chosen, lacking

    def make_headroom(self, headroom_bytes: int) -> None:
        """Evict ahead of need, so that the next blobs need not wait for it.

        What is over a limit that was lowered goes as far as pins let it, also where that makes no room ahead.
        """
        self._reservations.release_dead()
        missing = self._reservations.missing_for_all(headroom_bytes)
        if missing > 0 and not self._eviction.make_space(missing):
            surplus_bytes = min(self._reservations.over_limit_bytes(), self._eviction.evictable_bytes())
            if surplus_bytes > 0:
                self._eviction.make_space(surplus_bytes)

    @property
    def min_free_bytes(self) -> int:
        """What is kept free on the disk."""
        return self._reservations.limits.min_free_bytes

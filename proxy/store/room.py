"""Space for what is about to arrive: reserved before, evicted for, given back.

A reservation is a ledger row per partial file, so that all processes count the
same. It lasts as long as the partial file does. All methods block.
"""

import contextlib
import logging
from collections.abc import Callable, Collection

from proxy.digest import Digest
from proxy.store.evict import Usage, choose
from proxy.store.ledger import Ledger
from proxy.store.limits import StoreLimits
from proxy.store.local import LocalStore

log = logging.getLogger(__name__)

_RESERVED = "reserved/"
_IDLE_PARTIAL_S = 7 * 24 * 3600.0


class Room:
    """Keeps the store within its limits."""

    def __init__(
        self,
        store: LocalStore,
        ledger: Ledger,
        limits: StoreLimits,
        in_use: Callable[[], set[Digest]] = set,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._limits = limits
        self._in_use = in_use
        """Returns blobs that must stay besides the pinned ones, such as served documents."""

    def reserve(self, digest: Digest, size_bytes: int) -> bool:
        """Set space aside for a blob; False when even eviction cannot make it.

        What is reserved for the same digest already counts.
        """
        key = _RESERVED + digest
        for _ in range(2):
            with self._ledger.transaction():
                held_bytes = self._ledger.record(key) or 0
                if held_bytes >= size_bytes:
                    return True
                missing = self._missing_bytes(size_bytes - held_bytes)
                if missing <= 0:
                    self._ledger.write(key, size_bytes)
                    return True
            self._evict(missing)
        return False

    def may_fit(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether `reserve` would succeed; evicts nothing."""
        held_bytes = self._ledger.record(_RESERVED + digest) or 0
        missing = self._missing_bytes(size_bytes - held_bytes)
        if held_bytes >= size_bytes or missing <= 0:
            return True
        return bool(choose(self._ledger.usages(), self._ledger.pinned() | self._in_use(), missing))

    def foresee(self, needed_bytes: int, wanted: Collection[Digest]) -> tuple[int, list[Usage], int]:
        """Say what fetching `needed_bytes` would do, without doing it.

        Returns the free bytes, the blobs that would have to go, and how many
        bytes would be lacking all the same. What is wanted is never let go.
        """
        missing = self._missing_bytes(needed_bytes)
        usages = self._ledger.usages()
        protected = self._ledger.pinned() | self._in_use() | set(wanted)
        chosen = choose(usages, protected, missing)
        may_go = sum(usage.size_bytes for usage in usages if usage.digest not in protected)
        lacking = 0 if chosen or missing <= 0 else missing - may_go
        return self._store.free_bytes(), chosen, lacking

    def settle(self, digest: Digest, size_bytes: int) -> None:
        """Turn a reservation into a blob, after its commit."""
        self._ledger.add_blob(digest, size_bytes)
        self._ledger.forget(_RESERVED + digest)

    def shrink(self, digest: Digest, size_bytes: int) -> None:
        """Reserve no more than what has arrived, while nobody fetches the rest."""
        self._ledger.write(_RESERVED + digest, size_bytes)

    def give_back(self, digest: Digest) -> None:
        """Drop a reservation whose partial file is gone."""
        self._ledger.forget(_RESERVED + digest)

    def reconcile(self) -> None:
        """Bring the ledger in line with the disk after a crash.

        Blobs without a row get one, rows without a blob go, and so do
        reservations without a partial file, and partial files that nobody
        went on with for a week.
        """
        added, removed = self._ledger.reconcile(
            (
                (digest, status.st_size, max(status.st_atime, status.st_mtime))
                for digest, status in self._store.scan()
            ),
            self._store.has,
        )
        self._store.remove_idle_partials(_IDLE_PARTIAL_S)
        partials = set(self._store.partial_digests())
        for key in list(self._ledger.keys(_RESERVED)):
            digest = Digest(key.removeprefix(_RESERVED))
            if digest not in partials:
                self.give_back(digest)
        self._store.remove_dead_drafts()
        log.info("store.reconciled added=%d removed=%d partials=%d", added, removed, len(partials))

    def _missing_bytes(self, size_bytes: int) -> int:
        """Return how many bytes must go before `size_bytes` fit; zero or less means they do."""
        reserved = {key: self._ledger.record(key) or 0 for key in self._ledger.keys(_RESERVED)}
        outstanding = sum(
            max(0, total - self._arrived_bytes(Digest(key.removeprefix(_RESERVED))))
            for key, total in reserved.items()
        )
        free = self._store.free_bytes() - outstanding - self._limits.min_free_bytes
        missing = size_bytes - free
        if self._limits.limit_bytes is not None:
            used = self._ledger.total_bytes() + sum(reserved.values())
            missing = max(missing, used + size_bytes - self._limits.limit_bytes)
        return missing

    def _arrived_bytes(self, digest: Digest) -> int:
        with contextlib.suppress(FileNotFoundError):
            return (self._store.incoming / digest).stat().st_size
        return 0

    def _evict(self, needed_bytes: int) -> None:
        protected = self._ledger.pinned() | self._in_use()
        while chosen := choose(self._ledger.usages(), protected, needed_bytes):
            for usage in chosen:
                if not self._store.remove(usage.digest):
                    protected.add(usage.digest)  # It is being read; another must go instead.
                    continue
                self._ledger.forget_blob(usage.digest)
                needed_bytes -= usage.size_bytes
                log.info("blob.evicted digest=%s bytes=%d", usage.digest, usage.size_bytes)

"""Space for what is about to arrive: reserved before, evicted for, given back.

A reservation is a ledger row per partial file, so that all processes count the
same. It lasts as long as the partial file does. All methods block.
"""

import contextlib
import logging
import os
import time
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from proxy.digest import Digest
from proxy.store.evict import Usage, choose_evicted
from proxy.store.ledger import Ledger, is_count
from proxy.store.limits import StoreLimits
from proxy.store.proofs import Proofs
from proxy.store.protocols import PruneStore

log = logging.getLogger(__name__)

_RESERVED = "reserved/"
_FILLING = "filling/"
_IDLE_PARTIAL_S = 7 * 24 * 3600.0
_SHORTEST_RATE_S = 0.1
_EVICTED_AT_ONCE = 20
_TRIES = 3
_NOTE_FIELDS = 5
_IDENTITY_FIELDS = 2
_STARTED_FIELD = 19
"""Of /proc/PID/stat, counted from the state after the name."""


class Arriving(NamedTuple):
    """A blob whose bytes are arriving."""

    digest: Digest
    label: str
    size_bytes: int
    arrived_bytes: int
    rate_bytes_s: float

    @property
    def remaining_s(self) -> float | None:
        """Seconds until it is here at this rate; None while nothing moves."""
        return (self.size_bytes - self.arrived_bytes) / self.rate_bytes_s if self.rate_bytes_s else None


class StoreUsage(NamedTuple):
    """What the store holds, and what it may hold."""

    blobs: int
    bytes: int
    pinned_blobs: int
    pinned_bytes: int
    pins: dict[str, dict[str, int]]
    """Blobs and bytes that each named pin keeps, and blobs that it will keep once they are here."""
    reserved_bytes: int
    """For blobs that are arriving, or that will go on some time."""
    free_bytes: int
    limit_bytes: int | None
    min_free_bytes: int
    quarantined: int
    """Damaged files that were set aside for somebody to look at."""


class Room:
    """Keeps the store within its limits."""

    def __init__(
        self,
        store: PruneStore,
        ledger: Ledger,
        limits: StoreLimits,
        in_use: Callable[[], set[Digest]] = set,
        on_evicted: Callable[[int], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._limits = limits
        self._clock = clock
        self._proofs = Proofs(store, ledger, clock)
        self._on_evicted = on_evicted
        """Told the bytes of each evicted blob."""
        self._in_use = in_use
        """Returns blobs that must stay besides the pinned ones, such as served documents."""

    def arriving(self) -> list[Arriving]:
        """Return the blobs whose bytes are arriving now, in any process."""
        now = self._clock()
        found = []
        for key, (label, size_bytes, here_bytes, began_at, process) in self._notes().items():
            digest = Digest(key.removeprefix(_FILLING))
            if process != _identity(process[0]):
                continue
            arrived_bytes = self._arrived_bytes(digest)
            rate = (arrived_bytes - here_bytes) / max(now - began_at, _SHORTEST_RATE_S)
            found.append(Arriving(digest, label, size_bytes, arrived_bytes, max(0.0, rate)))
        return found

    def reserve(self, digest: Digest, size_bytes: int, label: str = "", here_bytes: int = 0) -> bool:
        """Set space aside for a blob whose bytes begin to arrive; False when even eviction cannot make it.

        What is reserved for the same digest already counts. `label` names it to
        people; `here_bytes` of it arrived earlier.
        """
        for attempt in range(_TRIES):
            missing = self._take(digest, size_bytes, label, here_bytes)
            if missing <= 0:
                return True
            if attempt < _TRIES - 1:
                self._evict(missing - self.release_dead(), digest)
        return False

    def _take(self, digest: Digest, size_bytes: int, label: str, here_bytes: int) -> int:
        """Set space aside if there is any; return how many bytes must go first, zero or less for none."""
        with self._ledger.transaction():
            reserved = self._reservations()
            held_bytes = reserved.get(_RESERVED + digest, 0)
            more_bytes = size_bytes - held_bytes
            missing = self._missing_bytes(more_bytes, reserved) if more_bytes > 0 else 0
            if missing <= 0:
                if more_bytes > 0:
                    self._ledger.write(_RESERVED + digest, size_bytes)
                note = [label, size_bytes, here_bytes, self._clock(), _identity(os.getpid())]
                self._ledger.write(_FILLING + digest, note)
        return missing

    def may_fit(self, digest: Digest, size_bytes: int) -> bool:
        """Say whether `reserve` would succeed; evicts nothing."""
        reserved = self._reservations()
        held_bytes = reserved.get(_RESERVED + digest, 0)
        missing = self._missing_bytes(size_bytes - held_bytes, reserved)
        if held_bytes >= size_bytes or missing <= 0:
            return True
        return bool(choose_evicted(self._evictable(), self.protected() | {digest}, missing))

    def foresee(self, needed_bytes: int, wanted: Collection[Digest]) -> tuple[int, list[Usage], int]:
        """Say what fetching `needed_bytes` would do, without doing it.

        Returns the free bytes, the blobs that would have to go, and how many
        bytes would be lacking all the same. What is wanted is never let go.
        """
        # What is set aside for them already need not be found again.
        reserved = self._reservations()
        outstanding = sum(self._outstanding(reserved, wanted).values())
        missing = self._missing_bytes(max(0, needed_bytes - outstanding), reserved)
        usages = self._evictable()
        protected = self.protected() | set(wanted)
        chosen = choose_evicted(usages, protected, missing)
        may_go = sum(usage.size_bytes for usage in usages if usage.digest not in protected)
        lacking = 0 if chosen or missing <= 0 else missing - may_go
        return self._store.free_bytes(), chosen, lacking

    def settle(self, digest: Digest, size_bytes: int) -> None:
        """Turn a reservation into a blob, after it was proved and committed."""
        with self._ledger.blob_transaction():
            self._ledger.add_blob(digest, size_bytes)
            self._proofs.note(digest)
        self.give_back(digest)

    def shrink(self, digest: Digest, size_bytes: int) -> None:
        """Reserve no more than what has arrived, while nobody fetches the rest."""
        self._ledger.write(_RESERVED + digest, size_bytes)
        self._ledger.forget(_FILLING + digest)

    def give_back(self, digest: Digest) -> None:
        """Drop a reservation whose partial file is gone."""
        with self._ledger.transaction():
            self._ledger.forget(_RESERVED + digest)
            self._ledger.forget(_FILLING + digest)

    def release_dead(self) -> int:
        """Mend what processes that died while they filled have left; return how many bytes that set free.

        A blob that was committed and not noted gets its row, even if its process lives and
        could not write it; a partial file keeps no more room than it takes.
        """
        freed_bytes = 0
        for key, note in self._notes().items():
            digest = Digest(key.removeprefix(_FILLING))
            is_committed = self._store.has(digest) and self._store.partial_status(digest) is None
            if note[-1] == _identity(note[-1][0]) and not is_committed:
                continue
            with self._ledger.transaction():
                if self._ledger.record(key) == note:  # Nobody has gone on with it meanwhile.
                    freed_bytes += self._release(digest)
        return freed_bytes

    def _release(self, digest: Digest) -> int:
        reserved_bytes = self._reserved_bytes(digest)
        arrived_bytes = self._arrived_bytes(digest)
        if arrived_bytes:
            self.shrink(digest, arrived_bytes)
            return max(0, reserved_bytes - arrived_bytes)
        held_bytes = self._store.size_bytes(digest)
        if held_bytes is not None:
            self._ledger.add_blob(digest, held_bytes)
        self.give_back(digest)
        return reserved_bytes if held_bytes is None else 0

    def tidy_partials(self) -> None:
        """Remove partial files that nobody went on with for a week, and reservations without a file."""
        self._store.remove_idle_partials(_IDLE_PARTIAL_S)
        for key in self._ledger.keys(_RESERVED):
            digest = Digest(key.removeprefix(_RESERVED))
            if self._store.partial_status(digest) is None:
                self.give_back(digest)

    def reconcile(self) -> None:
        """Bring the ledger in line with the disk after a crash.

        Blobs without a row get one, rows without a blob go, and so do
        reservations without a partial file, and partial files that nobody
        went on with for a week.
        """
        self.release_dead()
        added, removed = self._ledger.reconcile(
            self._store.scan(),
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

    def protected(self) -> set[Digest]:
        """Return the blobs that eviction must leave."""
        return self._ledger.protected() | self._in_use()

    def documents_in_use(self) -> set[Digest]:
        """Return the blobs of documents that are served, whether or not anything pins them."""
        return self._in_use()

    def _notes(self) -> dict[str, list[Any]]:
        """Return who fills what, by key: label, size, bytes here when it began, when, and the process."""
        return {key: note for key, note in self._ledger.records(_FILLING).items() if _is_note(note)}

    def _reservations(self) -> dict[str, int]:
        """Return what is set aside, by key; what makes no sense is none."""
        records = self._ledger.records(_RESERVED)
        return {key: size_bytes for key, size_bytes in records.items() if is_count(size_bytes)}

    def _reserved_bytes(self, digest: Digest) -> int:
        size_bytes = self._ledger.record(_RESERVED + digest)
        return size_bytes if is_count(size_bytes) else 0

    def _missing_bytes(self, size_bytes: int, reservations: Mapping[str, int]) -> int:
        """Return how many bytes must go before `size_bytes` fit; zero or less means they do."""
        # What has become a blob counts as one, not as a reservation too.
        settled, blob_bytes = self._ledger.sizes_and_total(
            [Digest(key.removeprefix(_RESERVED)) for key in reservations]
        )
        reserved = {
            key: size for key, size in reservations.items() if key.removeprefix(_RESERVED) not in settled
        }
        outstanding = sum(self._outstanding(reserved).values())
        free = self._store.free_bytes() - outstanding - self._limits.min_free_bytes
        missing = size_bytes - free
        if self._limits.limit_bytes is not None:
            used = blob_bytes + sum(reserved.values())
            missing = max(missing, used + size_bytes - self._limits.limit_bytes)
        return missing

    def _outstanding(
        self, reserved: Mapping[str, int], among: Container[Digest] | None = None
    ) -> dict[Digest, int]:
        """Return how many bytes are set aside for each blob and have not arrived."""
        by_digest = {Digest(key.removeprefix(_RESERVED)): total for key, total in reserved.items()}
        return {
            digest: max(0, total - self._arrived_bytes(digest))
            for digest, total in by_digest.items()
            if among is None or digest in among
        }

    def _arrived_bytes(self, digest: Digest) -> int:
        partial = self._store.partial_status(digest)
        return 0 if partial is None else partial.length_bytes

    @property
    def min_free_bytes(self) -> int:
        """What is kept free on the disk."""
        return self._limits.min_free_bytes

    def usage(self) -> StoreUsage:
        """Return what the store holds and may hold."""
        names = self._ledger.pins()
        sizes = self._ledger.sizes(names)
        pins: dict[str, dict[str, int]] = {}
        for digest, its_pins in names.items():
            for name in its_pins:
                pin = pins.setdefault(name, {"blobs": 0, "bytes": 0, "awaited_blobs": 0})
                pin["blobs"] += digest in sizes
                pin["bytes"] += sizes.get(digest, 0)
                pin["awaited_blobs"] += digest not in sizes
        return StoreUsage(
            blobs=self._ledger.blob_count(),
            bytes=self._ledger.total_bytes(),
            pinned_blobs=len(sizes),
            pinned_bytes=sum(sizes.values()),
            pins=pins,
            reserved_bytes=sum(self._reservations().values()),
            free_bytes=self._store.free_bytes(),
            limit_bytes=self._limits.limit_bytes,
            min_free_bytes=self._limits.min_free_bytes,
            quarantined=self._store.set_aside_count(),
        )

    def usage_on_disk(self) -> StoreUsage:
        """Return what the store holds without asking the ledger, which knows of pins and reservations."""
        sizes: list[int] = []
        with contextlib.suppress(OSError):  # A folder that nobody may look into.
            sizes.extend(found.size_bytes for found in self._store.scan())
        return StoreUsage(
            blobs=len(sizes),
            bytes=sum(sizes),
            pinned_blobs=0,
            pinned_bytes=0,
            pins={},
            reserved_bytes=0,
            free_bytes=self._store.free_bytes(),
            limit_bytes=self._limits.limit_bytes,
            min_free_bytes=self._limits.min_free_bytes,
            quarantined=self._store.set_aside_count(),
        )

    def make_headroom(self, headroom_bytes: int) -> None:
        """Evict ahead of need, so that the next blobs need not wait for it."""
        self.release_dead()
        missing = self._missing_bytes(headroom_bytes, self._reservations())
        if missing > 0:
            self._evict(missing)

    def evict(self, usages: Sequence[Usage], *, spared: Callable[[], set[Digest]] | None = None) -> int:
        """Remove these blobs unless they are being read, or `spared`; return how many bytes that freed.

        What is spared (what `protected` says unless told otherwise) is asked again and again:
        somebody may pin one while others go.
        """
        remove = self._remove_unpinned if spared is None else self._store.remove
        spared = self.protected if spared is None else spared
        freed_bytes = 0
        for start in range(0, len(usages), _EVICTED_AT_ONCE):
            kept = spared()
            for usage in usages[start : start + _EVICTED_AT_ONCE]:
                if usage.digest in kept or not remove(usage.digest):
                    continue
                if self._ledger.forget_blob(usage.digest):
                    freed_bytes += usage.size_bytes
                    self._on_evicted(usage.size_bytes)
                    log.info("blob.evicted digest=%s bytes=%d", usage.digest, usage.size_bytes)
        return freed_bytes

    def _remove_unpinned(self, digest: Digest) -> bool:
        """Remove a blob unless it is being read or pinned; say whether it is gone.

        Nobody can pin it between our look and its removal: pins wait for the transaction.
        """
        with self._ledger.transaction():
            is_gone = not self._ledger.is_protected(digest) and self._store.unlink(digest)
        if is_gone:
            self._store.sync_removal(digest)
        return is_gone

    def _evict(self, needed_bytes: int, *spared: Digest) -> None:
        protected = self.protected() | set(spared)
        while chosen := choose_evicted(self._evictable(), protected, needed_bytes):
            partials = [usage for usage in chosen if isinstance(usage, _IdlePartial)]
            freed_bytes = self._drop_partials(partials)
            freed_bytes += self.evict([usage for usage in chosen if not isinstance(usage, _IdlePartial)])
            if freed_bytes >= needed_bytes:
                return
            # Some are being read; others must go instead.
            needed_bytes -= freed_bytes
            protected |= {usage.digest for usage in chosen}

    def _evictable(self) -> list[Usage]:
        """Return all that eviction may choose from: blobs, and partial files that nobody goes on with."""
        return [*self._ledger.usages(), *self._idle_partials()]

    def _idle_partials(self) -> Iterator["_IdlePartial"]:
        busy = {
            key.removeprefix(_FILLING)
            for key, note in self._notes().items()
            if note[-1] == _identity(note[-1][0])
        }
        for key, reserved_bytes in self._reservations().items():
            digest = Digest(key.removeprefix(_RESERVED))
            partial = self._store.partial_status(digest)
            if partial is not None and digest not in busy:
                yield _IdlePartial(digest, reserved_bytes, min(partial.written_at, self._clock()))

    def _drop_partials(self, partials: Iterable["_IdlePartial"]) -> int:
        """Remove partial files unless somebody has gone on with them; return how many bytes that freed."""
        freed_bytes = 0
        for usage in partials:
            if self._store.drop_partial(usage.digest):
                with self._ledger.transaction():
                    if not self._arrived_bytes(usage.digest):  # Nobody has begun it anew.
                        self.give_back(usage.digest)
                freed_bytes += usage.size_bytes
                log.info("partial.evicted digest=%s bytes=%d", usage.digest, usage.size_bytes)
        return freed_bytes


class _IdlePartial(Usage):
    """A partial file that nobody writes: it was used when it was written, and takes what is reserved."""


def _is_note(note: object) -> bool:
    if not isinstance(note, list) or len(note) != _NOTE_FIELDS:
        return False
    label, *counts, began_at, process = note
    is_process = (
        isinstance(process, list) and len(process) == _IDENTITY_FIELDS and all(map(is_count, process))
    )
    is_begun = isinstance(label, str) and all(map(is_count, counts)) and isinstance(began_at, int | float)
    return is_begun and is_process


def _identity(pid: int) -> list[int]:
    """Return what tells a process from a later one of the same id: its id and when it started.

    The start is in clock ticks since the machine's (proc(5)); 0 when there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return [pid, 0]
    return [pid, int(stat.rpartition(")")[2].split()[_STARTED_FIELD])]

"""Following a fill: another process writes the file, and this one lets its own clients read it.

Owns how the end of that is told from the file: proved, committed, discarded, or
left by a process that died. Then this process takes over, if it is the very file
that its clients are reading.
"""

import asyncio
import logging
from collections.abc import Sequence

from proxy.fills.errors import BadItem, TransferDiscarded
from proxy.fills.facilities import Facilities
from proxy.fills.failures import WRONG_BYTES
from proxy.fills.interest import Interest
from proxy.fills.progress import Progress
from proxy.fills.silence import Silence
from proxy.sources.candidates import Source
from proxy.store.files import StoreFault
from proxy.store.protocols import Incoming, Partial, WriteStore

log = logging.getLogger(__name__)

POLL_S = 0.02
"""The events are in another process."""
_POLLS_FOR_EACH_TAKEOVER_TRY = 10
_KEEP_TRIES = 250
"""Or its writer was stopped amid the commit, or somebody is removing it: clients have their bytes anyway."""


class Follower:
    """The work of a process that reads what another one writes."""

    def __init__(
        self, progress: Progress, sources: Sequence[Source], interest: Interest, facilities: Facilities
    ) -> None:
        self._progress = progress
        self._item = progress.item
        self._sources = sources
        self._interest = interest
        self._storage = facilities.storage
        self._store: WriteStore = facilities.storage.store
        self._failures = facilities.failures
        self._silence = Silence(self._item.digest, facilities.silences)

    async def watch(self) -> bool:
        """Follow the file for a moment; say whether the blob is committed. If not, try to lead.

        Raises ItemAbsent, BadItem, TransferDiscarded or StoreFault when the other process has given up.
        """
        progress = self._progress
        progress.file = file = progress.file or self._store.follow(self._item.digest)
        if file is None:
            return await self.adopt()
        for _ in range(_POLLS_FOR_EACH_TAKEOVER_TRY):
            self._interest.note()
            seen = file.progress()
            progress.report(seen.length_bytes)
            if seen.is_verified and seen.length_bytes == self._item.size_bytes:
                progress.prove()
            elif seen.is_discarded:
                await self._find_out_why()
                return self._let_go_of(file)
            elif self._silence.is_too_long(seen.last_sign):
                raise await self._stopped()
            if self._store.has(self._item.digest):
                return await self.adopt()
            await asyncio.sleep(POLL_S)
        return False

    async def adopt(self) -> bool:
        """Read on from the committed blob; say whether it is there."""
        blob = self._store.open(self._item.digest, self._item.size_bytes)
        if blob is None:
            await self._check_size()
            return False
        file = self._progress.file
        if file is None:
            self._progress.file = blob.as_partial()
        else:
            with blob:
                _check_same(file, blob.fd)
        self._progress.report(self._item.size_bytes)
        self._progress.prove()
        await self._storage.threads.ledger(self._storage.reservations.give_back, self._item.digest)
        await self._keep_file()
        return True

    async def _keep_file(self) -> None:
        """Protect the blob from removal while clients read it, as soon as its writer lets that be."""
        for _ in range(_KEEP_TRIES):
            if self._progress.keep_file():
                return
            await asyncio.sleep(POLL_S)

    async def check_takeover(self, file: Partial, incoming: Incoming) -> None:
        """Let this process write on, now that the one that wrote the `file` has died or given up.

        Raises ItemAbsent, BadItem, TransferDiscarded or StoreFault when its readers cannot be given
        what will be written.
        """
        known = await self._failures.known(self._item)
        known.check(self._item, self._origins)
        if known.is_suspect and not file.is_same(incoming.fd):
            raise TransferDiscarded(self._item, "another worker got wrong bytes")
        _check_same(file, incoming.fd)

    async def _stopped(self) -> StoreFault:
        """Say in the log who keeps the file and does nothing; return the error for those who wait."""
        item, threads = self._item, self._storage.threads
        pid = await threads.ledger(self._storage.reservations.filled_by, item.digest)
        who = "the process that fetches it" if pid is None else f"process {pid}, which fetches it,"
        log.warning(
            "blob.leader_silent digest=%s bytes=%d problem=%s advice=%s",
            item.digest,
            self._progress.filled_bytes,
            f"{who} gives no sign of life: clients get the item past the store",
            "if it was stopped (ctrl-Z), let it go on (fg, kill -CONT), or end it",
        )
        return StoreFault(f"{who} gives no sign of life: was it stopped?")

    async def _find_out_why(self) -> None:
        """Raise the reason for which another process discarded the file, if it recorded one."""
        known = await self._failures.known(self._item)
        known.check(self._item, self._origins)
        if known.is_suspect:
            raise TransferDiscarded(self._item, "another worker got wrong bytes")

    def _let_go_of(self, file: Partial) -> bool:
        """Let this process lead; raise StoreFault if part of the discarded file is read here.

        Nobody waited there any more; or that process could not store it, and nor will this one.
        """
        if self._progress.filled_bytes:
            raise StoreFault("another worker could not store it")
        file.close()
        self._progress.file = None
        return False

    async def _check_size(self) -> None:
        """Decide who is wrong when a blob is here with another size than the list gives.

        Raises BadItem when it is the list; a damaged blob is set aside.
        """
        item = self._item
        (await self._failures.known(item)).check(item, self._origins)
        problem = await self._storage.threads.slow(self._store.audit, item.digest, item.size_bytes)
        if problem is not None:
            await self._failures.record_wrong(item, dict.fromkeys(self._origins, problem), WRONG_BYTES)
            raise BadItem(item.digest, problem)

    @property
    def _origins(self) -> list[str]:
        return [name for source in self._sources for name in source.route.names]


def _check_same(file: Partial, fd: int) -> None:
    """Raise StoreFault unless the clients read that very file: another one may hold other bytes."""
    if not file.is_same(fd):
        raise StoreFault("another process began the file anew")

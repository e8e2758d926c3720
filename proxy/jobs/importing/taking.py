"""Bringing blobs from a medium into the store: read once, hashed and written as they pass.

The bytes go through the store's own partial files: another process that wants the item reads along,
a run that was interrupted goes on where it ended, and only what hashes right gets a name. A blob is
copied, never hard-linked: whoever wrote the bundle's file could change it afterwards.
"""

import asyncio
import errno
from functools import partial

from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault
from proxy.bundles.reading.layouts import Blob
from proxy.digest import DigestMismatch, SizeMismatch
from proxy.fills.errors import NoRoom
from proxy.fills.first_bytes import FirstBytes
from proxy.fills.write_back import WriteBack
from proxy.jobs.importing.commits import CommitsInFlight
from proxy.jobs.importing.taken import Taken
from proxy.progress import Progress
from proxy.simplestreams.model import Item
from proxy.store.protocols import Incoming
from proxy.store.storage import Storage
from proxy.system.threads import ended, outcome

_AT_ONCE_BYTES = 8 * 1024 * 1024
_HARMLESS = {errno.ENOSPC, errno.EDQUOT, errno.EPIPE}
"""What leaves as it was what was written before: the disk is full, or whoever reads our output has gone."""
_ENDS = "it ends early there"
_BUSY_POLL_S = 0.2
_MOST_BUSY_POLLS = 50
"""Without any progress of the process that writes the blob."""


class Taking:
    """Takes the blobs of one import."""

    def __init__(self, storage: Storage, first_bytes: FirstBytes, progress: Progress, taken: Taken) -> None:
        """Note in `taken` what comes of them."""
        self._first_bytes = first_bytes
        self.taken = taken
        self._storage = storage
        self._threads = storage.threads
        self._progress = progress
        self._commits = CommitsInFlight()

    async def take(self, blob: Blob, item: Item) -> None:
        """Bring a blob into the store. Raises StoreFault and OSError, which end an import."""
        if blob.size_bytes != item.size_bytes:
            self._refuse_size(blob, item)
            return
        incoming = await self._acquired(item)
        if incoming is None:
            return
        try:
            is_there = await self._fill(incoming, blob, item)
            if is_there:
                commit = partial(self._commit, incoming, item)
                await self._commits.begin(commit, f"commit {item.path}")
        except BaseException as error:
            is_lost = isinstance(error, OSError) and error.errno not in _HARMLESS
            give_up = self._drop if is_lost else self._pause
            await ended(asyncio.create_task(give_up(incoming, item)))
            raise
        if not is_there:
            await self._threads.disk(incoming.close)

    async def finish(self) -> None:
        """Return once the disk has all that was taken. Raises what committing raised."""
        await self._commits.finish()

    async def stop(self) -> None:
        """Let what is being committed end, whatever comes of it."""
        await self._commits.stop()

    # One blob

    async def _acquired(self, item: Item) -> Incoming | None:
        """Return the right to write a blob; None once it is there, or while another process keeps it."""
        store, idle, length = self._storage.store, 0, -1
        while idle < _MOST_BUSY_POLLS:
            incoming = await self._threads.disk(store.acquire, item.digest, item.size_bytes)
            if await self._threads.disk(store.is_whole, item.digest, item.size_bytes):
                if incoming is not None:
                    await self._threads.disk(incoming.close)
                self._progress.ended(item.path, missing_bytes=item.size_bytes)
                return None
            if incoming is not None:
                return incoming
            now = await self._threads.disk(store.stored_bytes, item.digest, item.size_bytes)
            idle, length = (0 if now != length else idle + 1), now
            await asyncio.sleep(_BUSY_POLL_S)
        self._fail(self.taken.unread, item, "another process keeps its beginning open, and does not go on")
        return None

    async def _fill(self, incoming: Incoming, blob: Blob, item: Item) -> bool:
        """Write and verify a blob; say whether it may be committed."""
        here_bytes = incoming.length_bytes
        room = self._storage.room
        if not await room.reserve(item.digest, item.size_bytes, item.path, here_bytes):
            raise NoRoom(item)
        if here_bytes:
            self._progress.moved(item.path, here_bytes)
        write_back = WriteBack(incoming, self._threads)
        read = self._first_bytes.resting(blob.read_into)
        try:
            if here_bytes:
                await self._threads.disk(blob.skip, here_bytes)
            while incoming.length_bytes < item.size_bytes:
                before = incoming.length_bytes
                await outcome(self._threads.begin_draw(incoming.draw, read, _AT_ONCE_BYTES))
                if incoming.length_bytes == before:
                    break
                self._progress.moved(item.path, incoming.length_bytes - before)
                write_back.note(incoming.length_bytes)
            if incoming.length_bytes < item.size_bytes:
                raise MediumFault(_ENDS)  # noqa: TRY301 - as if the medium had said so
            await self._threads.disk(incoming.verify)
        except (MediumFault, ArchiveCut, ArchiveRefused, LayoutUnreadable) as error:
            await self._pause(incoming, item)
            self._fail(self.taken.unread, item, str(error), item.size_bytes - incoming.length_bytes)
            return False
        except (SizeMismatch, DigestMismatch):
            self._progress.moved(item.path, -incoming.length_bytes)
            await self._drop(incoming, item)
            self._fail(self.taken.wrong, item, _wrong(here_bytes), item.size_bytes)
            return False
        return True

    async def _commit(self, incoming: Incoming, item: Item) -> None:
        storage = self._storage
        try:
            try:
                await self._threads.sync(incoming.commit)
            except OSError:
                # What the disk failed to take may be gone from memory too.
                await self._drop(incoming, item)
                raise
            await self._threads.ledger(storage.reservations.settle, item.digest, item.size_bytes)
        finally:
            await self._threads.disk(incoming.close)
        self.taken.files += 1
        self.taken.digests.add(item.digest)
        self.taken.bytes += item.size_bytes
        self._progress.ended(item.path)

    # When it goes wrong

    def _refuse_size(self, blob: Blob, item: Item) -> None:
        if blob.size_bytes < item.size_bytes:
            self._fail(self.taken.unread, item, "it is cut off there", item.size_bytes)
        else:
            self._fail(
                self.taken.wrong, item, "it is longer there than its signed list says", item.size_bytes
            )

    def _fail(self, found: dict[str, str], item: Item, problem: str, missing_bytes: int = 0) -> None:
        found[item.path] = problem
        self._progress.ended(item.path, problem, missing_bytes=missing_bytes)

    async def _pause(self, incoming: Incoming, item: Item) -> None:
        """Keep what has arrived for the next run, and no more room than that."""
        if incoming.fd < 0:
            return
        if not incoming.length_bytes:
            await self._drop(incoming, item)
        else:
            reservations = self._storage.reservations
            await self._threads.ledger(reservations.shrink, item.digest, incoming.length_bytes)
        await self._threads.disk(incoming.close)

    async def _drop(self, incoming: Incoming, item: Item) -> None:
        # In this order: once the file is gone, another process may begin it anew and reserve for it.
        try:
            await self._threads.ledger(self._storage.reservations.give_back, item.digest)
        finally:
            await self._threads.disk(incoming.discard)
            await self._threads.disk(incoming.close)


def _wrong(resumed_bytes: int) -> str:
    told = "its bytes are not those that the signed list names"
    return f"{told}, or those of an interrupted run were not: run it again" if resumed_bytes else told

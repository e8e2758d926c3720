"""Leading a fill: an item's bytes are pulled from upstream, written, proved and committed.

Owns one stretch of that, and what becomes of what has arrived when it does not
go well. Knows nothing of who reads meanwhile, nor of other processes.
"""

import asyncio
import logging
import math
import time
from collections.abc import Sequence
from contextlib import aclosing
from typing import NoReturn

from proxy.digest import DigestMismatch, SizeMismatch
from proxy.errors import ProxyError
from proxy.fills.errors import NoRoom, TransferDiscarded
from proxy.fills.facilities import Facilities
from proxy.fills.failures import KnownFailures, Preflight
from proxy.fills.pace import Turn
from proxy.fills.progress import Progress
from proxy.fills.write_back import WriteBack
from proxy.fills.writing import Writing
from proxy.sources.candidates import Source
from proxy.sources.errors import ItemAbsent, ItemUnobtainable, OriginError, WrongCopy
from proxy.sources.limits.flow import Flow
from proxy.sources.origin import Piece
from proxy.sources.pull import Pull
from proxy.sources.route import Route
from proxy.store.protocols import Incoming
from proxy.store.without_room import record_without_room
from proxy.system.threads import ended

log = logging.getLogger(__name__)

_TROUBLE_RECORDED_EVERY_S = 4.0


class Leader:
    """The work of the one process that writes an item's partial file."""

    def __init__(
        self,
        progress: Progress,
        sources: Sequence[Source],
        incoming: Incoming,
        turn: Turn,
        facilities: Facilities,
    ) -> None:
        self._progress = progress
        self._item = progress.item
        self._sources = sources
        self._incoming = incoming
        self._turn = turn
        self._facilities = facilities
        self._room = facilities.storage.room
        self._reservations = facilities.storage.reservations
        self._threads = facilities.storage.threads
        self._failures = facilities.failures
        self._wrong_bytes = facilities.wrong_bytes
        self._has_room = False
        self._written_bytes = incoming.length_bytes
        self._write_back = WriteBack(incoming, self._threads)
        self._trouble_recorded_at = -math.inf

    async def run(self, preflight: Preflight | None) -> None:
        """Go on with the file until the blob is committed.

        `preflight` is what the ledger said just before the file was locked, None if it has to be asked.
        Raises TransferDiscarded, ItemAbsent, ItemUnobtainable, NoRoom, StoreFault or OSError.
        """
        incoming, known = self._incoming, await self._check(preflight)
        if known.is_mixed and incoming.length_bytes:
            await self._drop()
            raise TransferDiscarded(self._item, "nobody knows any more which origin it is from")
        self._progress.report(incoming.length_bytes)
        pull = self._facilities.pull(
            self._sources, self._item.size_bytes, incoming.length_bytes, known.doubts
        )
        pull.after_failed_round = self._tell_trouble
        pull.flow = Flow(self._turn.priority)
        pull.may_widen = self._turn.allows_more
        try:
            with self._wrong_bytes.kept.lent(self._item) as kept:
                # Some of it may be from the origin that is asked now.
                pull.kept = kept
                await self._receive(pull)
        except (WrongCopy, SizeMismatch, DigestMismatch) as error:
            await self._refuse(pull, error)
        except (ItemAbsent, ItemUnobtainable) as error:
            await self._do_without(pull, error, known)
        except (OSError, NoRoom):
            await self._drop()
            raise
        except Exception:
            await self._pause()
            raise
        except asyncio.CancelledError:
            await ended(asyncio.create_task(self._pause(), name="pause"))
            raise
        self._progress.prove()
        await self._commit()
        await self._settle(pull, known)
        self._facilities.storage.counters.files.came(self._item.digest, pull.contributors)
        log.info("blob.filled digest=%s bytes=%d", self._item.digest, self._item.size_bytes)

    # Before

    async def _check(self, preflight: Preflight | None) -> KnownFailures:
        """Return what speaks against the origins, and ask last those that were found to send wrong bytes.

        The ledger is asked again if that was not done, or what it said may have changed: another process has
        written a part meanwhile, or room may have been made. Raises NoRoom or LedgerUnavailable.
        """
        if preflight is None or self._incoming.resumed_bytes or not preflight.has_room:
            preflight = await self._threads.ledger(self._failures.preflight, self._item, self._room)
        if not preflight.has_room:
            error = await self._without_room()
            await self._drop()
            raise error
        for name, left_s in preflight.failures.distrusted_s.items():
            for route in self._routes:
                route.sent_wrong_bytes(name, left_s)
        return preflight.failures

    # While bytes arrive

    async def _receive(self, pull: Pull) -> None:
        """Write what is pulled, and prove it."""
        async with Writing(self._incoming, self._threads, self._report_written) as writing:
            async with aclosing(pull.pieces()) as pieces:
                async for piece in pieces:
                    count = await self._take(writing, piece)
                    if not self._has_room:
                        # Not before bytes arrive: an outage must not evict what is here.
                        await self._make_room()
                    await self._turn.give_way(count)
            await writing.finish()
        await self._threads.disk(self._incoming.verify)

    async def _take(self, writing: Writing, piece: Piece) -> int:
        if not isinstance(piece, bytes):
            receive = self._facilities.first_bytes.resting(piece.read_into)
            return await writing.draw(receive, self._turn.at_once_bytes)
        await writing.add(piece)
        return len(piece)

    def _report_written(self, length_bytes: int) -> None:
        """Let clients have what is written, once it is sure that there is room for all."""
        self._written_bytes = length_bytes
        self._write_back.note(length_bytes)
        if self._has_room:
            self._progress.report(length_bytes)

    async def _make_room(self) -> None:
        """Set space aside for all while the first bytes are written, and only then let clients have those."""
        item, here_bytes = self._item, self._incoming.resumed_bytes
        if not await self._room.reserve(item.digest, item.size_bytes, item.path, here_bytes):
            raise await self._without_room()
        self._has_room = True
        self._report_written(self._written_bytes)

    async def _without_room(self) -> NoRoom:
        """Record, for people to see elsewhere too, that the item does not fit; return the error."""
        item, ledger = self._item, self._facilities.storage.ledger
        await self._threads.ledger(record_without_room, ledger, item.digest, item.path, item.size_bytes)
        return NoRoom(item)

    async def _tell_trouble(self, error: OriginError) -> None:
        """Tell those who wait, here and in other processes, that no origin can be reached for now."""
        self._progress.note_trouble(str(error))
        now = time.monotonic()
        if now - self._trouble_recorded_at >= _TROUBLE_RECORDED_EVERY_S:
            self._trouble_recorded_at = now
            await self._failures.record_unreachable(self._item, str(error))

    # When all has arrived

    async def _commit(self) -> None:
        try:
            await self._threads.sync(self._incoming.commit)
        except OSError:
            # What the disk failed to take may be gone from memory too, and another try would not be told.
            await self._drop()
            raise
        await self._threads.ledger(self._reservations.settle, self._item.digest, self._item.size_bytes)

    async def _settle(self, pull: Pull, known: KnownFailures) -> None:
        """Bring what is recorded of the origins up to date with what they have delivered."""
        if known.is_suspect:
            fd = self._incoming.fd
            await self._wrong_bytes.settle(self._item, fd, pull.contributors, self._routes, known)
        if pull.wrong_lengths:
            await self._wrong_bytes.record_lengths(self._item, pull.wrong_lengths)

    # When it goes wrong

    async def _refuse(self, pull: Pull, error: ProxyError) -> NoReturn:
        """Record the guilty origin, or the suspects, and discard what arrived.

        Recorded first: a follower that sees the file gone asks why.
        """
        await self._wrong_bytes.record_lengths(self._item, pull.wrong_lengths)
        await self._record_absent(pull)
        if not isinstance(error, WrongCopy):
            await self._wrong_bytes.judge(self._item, pull.parts, str(error), self._incoming.fd, self._routes)
            await self._drop()
        elif pull.contributors & {wrong.origin for wrong in pull.wrong_lengths}:
            await self._drop()
        else:
            await self._pause()
        raise TransferDiscarded(self._item, str(error)) from error

    async def _do_without(
        self, pull: Pull, error: ItemAbsent | ItemUnobtainable, known: KnownFailures
    ) -> NoReturn:
        """End without the item: keep its beginning, unless nobody is known who ever had it."""
        if isinstance(error, ItemAbsent):
            await self._record_absent(pull)
            await (self._pause() if pull.contributors else self._drop())
            raise error from None
        if known.is_mixed and self._incoming.length_bytes:
            await self._drop()
            raise TransferDiscarded(self._item, str(error)) from error
        await self._pause()
        raise error

    async def _record_absent(self, pull: Pull) -> None:
        # Not of sources that were added after the last origin had been asked.
        await self._failures.record_absent(
            {source.path: pull.absent_at(source.path) for source in self._sources}
        )

    async def _pause(self) -> None:
        """Keep what has arrived for another time, and no more room than that."""
        if not self._incoming.length_bytes:
            await self._drop()
        else:
            await self._threads.ledger(
                self._reservations.shrink, self._item.digest, self._incoming.length_bytes
            )

    async def _drop(self) -> None:
        # In this order: once the file is gone, another process may begin it anew and reserve for it.
        try:
            await self._threads.ledger(self._reservations.give_back, self._item.digest)
        finally:
            await self._threads.disk(self._incoming.discard)

    @property
    def _routes(self) -> list[Route]:
        return [source.route for source in self._sources]

"""Leading a fill: an item's bytes are pulled from upstream, written, proved and committed.

Owns one stretch of that, and what becomes of what has arrived when it does not
go well. Knows nothing of who reads meanwhile, nor of other processes.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple, NoReturn, Protocol

from proxy.digest import DigestMismatch, SizeMismatch
from proxy.errors import ProxyError
from proxy.fills.liars import Liars, Memory
from proxy.fills.writing import Writing
from proxy.simplestreams.model import Item
from proxy.sources.errors import OriginError, WrongCopy
from proxy.sources.origin import Piece
from proxy.sources.pull import Doubts, ItemAbsent, ItemUnobtainable, Pull, Source
from proxy.sources.route import Route
from proxy.store.files import StoreFault
from proxy.store.incoming import Incoming
from proxy.store.room import Room
from proxy.store.storage import Storage
from proxy.store.without_room import note_without_room
from proxy.system.threads import ended

log = logging.getLogger(__name__)


class NoRoom(StoreFault):
    """An item for which even eviction could not make space."""

    def __init__(self, item: Item) -> None:
        super().__init__(f"no room for {item.size_bytes} bytes, even after eviction")


class BegunAnew(ProxyError):
    """A transfer of which nothing can be used: who still wants the item has it fetched from the beginning."""

    def __init__(self, item: Item, problem: str) -> None:
        super().__init__(f"what has come of {item.path} is thrown away: {problem}")
        self.problem = problem


class Findings(NamedTuple):
    """What the ledger says to a fill that may begin."""

    memory: Memory
    has_room: bool


def look_up(item: Item, room: Room, liars: Liars) -> Findings:
    """Ask the ledger all that a fill wants to know, in one visit. Blocks. Raises LedgerUnavailable."""
    return Findings(liars.look_up(item), room.may_fit(item.digest, item.size_bytes))


class Audience(Protocol):
    """Those who wait for the item."""

    @property
    def at_once_bytes(self) -> int:
        """How much may be taken before they are asked to give way again."""

    async def give_way(self, count: int) -> None:
        """Return when more may be asked for, after `count` bytes have come."""

    def report(self, filled_bytes: int) -> None:
        """Take note of how much may be read."""

    def show_verified(self) -> None:
        """Take note that all is here and proved."""

    async def hear_of_trouble(self, error: OriginError) -> None:
        """Take note that all origins have failed one after the other, the last one so."""


class Leader:
    """The work of the one process that writes an item's partial file."""

    def __init__(
        self,
        item: Item,
        sources: Sequence[Source],
        incoming: Incoming,
        storage: Storage,
        liars: Liars,
        pull_from: Callable[[int, Doubts], Pull],
        audience: Audience,
    ) -> None:
        self._item = item
        self._sources = sources
        self._incoming = incoming
        self._room = storage.room
        self._ledger = storage.ledger
        self._threads = storage.threads
        self._liars = liars
        self._failures = liars.failures
        self._pull_from = pull_from
        self._audience = audience
        self._has_room = False
        self._written_bytes = incoming.length_bytes

    async def run(self, look: Findings | None) -> None:
        """Go on with the file until the blob is committed.

        `look` is what the ledger said just before the file was locked, None if it has to be asked.
        Raises BegunAnew, ItemAbsent, ItemUnobtainable, NoRoom, StoreFault or OSError.
        """
        incoming = self._incoming
        try:
            memory = await self._recall(look)
        except NoRoom:
            await self._drop()
            raise
        self._beware(memory)
        if memory.doubts.is_mixed and incoming.length_bytes:
            await self._drop()
            raise BegunAnew(self._item, "nobody knows any more which origin it is from")
        self._audience.report(incoming.length_bytes)
        pull = self._pull_from(incoming.length_bytes, memory.doubts)
        pull.after_vain_round = self._audience.hear_of_trouble
        try:
            await self._receive(pull)
        except (WrongCopy, SizeMismatch, DigestMismatch) as error:
            await self._refuse(pull, error)
        except (ItemAbsent, ItemUnobtainable) as error:
            await self._do_without(pull, error, memory)
        except (OSError, NoRoom):
            await self._drop()
            raise
        except Exception:
            await self._pause()
            raise
        except asyncio.CancelledError:
            await ended(asyncio.create_task(self._pause(), name="pause"))
            raise
        self._audience.show_verified()
        await self._commit()
        if memory.is_any:
            deliverers = pull.contributors
            await self._liars.settle(self._item, incoming.fd, deliverers, self._routes, memory.doubts)
        await self._liars.wrong_lengths(self._item, pull.wrong_lengths)
        log.info("blob.filled digest=%s bytes=%d", self._item.digest, self._item.size_bytes)

    async def _commit(self) -> None:
        try:
            await self._threads.disk(self._incoming.commit)
        except OSError:
            # What the disk failed to take may be gone from memory too, and another try would not be told.
            await self._drop()
            raise
        await self._threads.ledger(self._room.settle, self._item.digest, self._item.size_bytes)

    async def _receive(self, pull: Pull) -> None:
        """Write what is pulled, and prove it."""
        async with Writing(self._incoming, self._threads, self._report_written) as writing:
            async with aclosing(pull.pieces()) as pieces:
                async for piece in pieces:
                    count = await self._take(writing, piece)
                    if not self._has_room:
                        # Not before bytes arrive: an outage must not evict what is here.
                        await self._make_room()
                    await self._audience.give_way(count)
            await writing.finish()
        await self._threads.disk(self._incoming.verify)

    async def _take(self, writing: Writing, piece: Piece) -> int:
        if not isinstance(piece, bytes):
            return await writing.draw(piece.read_into, self._audience.at_once_bytes)
        await writing.add(piece)
        return len(piece)

    async def _refuse(self, pull: Pull, error: ProxyError) -> NoReturn:
        """Remember whose copy is wrong, or between whom that lies, and keep nothing of it.

        Remembered first: a follower that sees the file gone asks why.
        """
        await self._liars.wrong_lengths(self._item, pull.wrong_lengths)
        for source in tuple(self._sources):
            await self._failures.remember_absent(source.path, pull.absent_at(source.path))
        if not isinstance(error, WrongCopy):
            await self._liars.judge(self._item, pull.parts, str(error), self._incoming.fd, self._routes)
            await self._drop()
        elif pull.contributors & {wrong.origin for wrong in pull.wrong_lengths}:
            await self._drop()
        else:
            await self._pause()
        raise BegunAnew(self._item, str(error)) from error

    async def _do_without(self, pull: Pull, error: ItemAbsent | ItemUnobtainable, memory: Memory) -> NoReturn:
        """End without the item: keep its beginning, unless all that is known is that it is not there."""
        if isinstance(error, ItemAbsent):
            # Not of sources that were added after the last origin had been asked.
            for source in tuple(self._sources):
                await self._failures.remember_absent(source.path, pull.absent_at(source.path))
            await self._drop()
            raise error from None
        if memory.doubts.is_mixed and self._incoming.length_bytes:
            await self._drop()
            raise BegunAnew(self._item, str(error)) from error
        await self._pause()
        raise error

    def _beware(self, memory: Memory) -> None:
        """Ask last whom another process, or another mirror's item, has convicted."""
        for name, left_s in memory.distrust_s.items():
            for route in self._routes:
                route.lied(name, left_s)

    async def _recall(self, look: Findings | None) -> Memory:
        """Return what speaks against the origins. Raises NoRoom, or LedgerUnavailable."""
        is_stale = look is not None and (self._incoming.resumed_bytes or not look.has_room)
        if look is None or is_stale:
            look = await self._threads.ledger(look_up, self._item, self._room, self._liars)
        if not look.has_room:
            raise await self._without_room()
        return look.memory

    async def _without_room(self) -> NoRoom:
        """Return the error, for people to see elsewhere too."""
        item = self._item
        await self._threads.ledger(note_without_room, self._ledger, item.digest, item.path, item.size_bytes)
        return NoRoom(item)

    async def _make_room(self) -> None:
        """Set space aside for all while the first bytes are written, and only then let clients have those."""
        item, here_bytes = self._item, self._incoming.resumed_bytes
        reserve = self._room.reserve
        if not await self._threads.ledger(reserve, item.digest, item.size_bytes, item.path, here_bytes):
            raise await self._without_room()
        self._has_room = True
        self._report_written(self._written_bytes)

    def _report_written(self, length_bytes: int) -> None:
        """Let clients have what is written, once it is sure that there is room for all."""
        self._written_bytes = length_bytes
        if self._has_room:
            self._audience.report(length_bytes)

    async def _pause(self) -> None:
        """Keep what has arrived for another time, and no more room than that."""
        if not self._incoming.length_bytes:
            await self._drop()
        else:
            await self._threads.ledger(self._room.shrink, self._item.digest, self._incoming.length_bytes)

    async def _drop(self) -> None:
        # In this order: once the file is gone, another process may begin it anew and reserve for it.
        try:
            await self._threads.ledger(self._room.give_back, self._item.digest)
        finally:
            await self._threads.disk(self._incoming.discard)

    @property
    def _routes(self) -> list[Route]:
        return [source.route for source in self._sources]

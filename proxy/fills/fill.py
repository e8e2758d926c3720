"""One download of one item, shared by everybody who waits for it.

A Fill belongs to no client. In the process that holds the partial file's lock
it leads: `lead.py` pulls bytes from upstream and writes them. In every other process
it follows: it watches the file grow, and takes over if the leader's process
dies. Readers see the same either way.

Nor does it outlive for nothing all that wanted it: once nobody waits here, it is let
go, unless a client wanted it and part of it has come.

Order of locks: the partial file's lock is taken first, then the store is looked
at again, because the blob may have been committed between a miss and the lock.
"""

import asyncio
import contextlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from proxy.errors import ProxyError
from proxy.fills.company import Company
from proxy.fills.demand import Demand
from proxy.fills.failures import WRONG_BYTES, BadItem
from proxy.fills.feed import FeedOptions, drip_end, flowing_end, held_end
from proxy.fills.leader import BegunAnew, Findings, Leader
from proxy.fills.liars import Liars
from proxy.fills.pace import Pace
from proxy.fills.places import Places
from proxy.simplestreams.model import Item
from proxy.sources.errors import OriginError
from proxy.sources.pull import Doubts, Pull, Source
from proxy.store.files import StoreFault
from proxy.store.incoming import Incoming, Partial
from proxy.store.storage import Storage
from proxy.system.threads import ended

log = logging.getLogger(__name__)

_AT_ONCE_BYTES = 4 * 1024 * 1024
_AT_ONCE_IN_BACKGROUND_BYTES = 512 * 1024
_FOLLOW_POLL_S = 0.02
_POLLS_PER_TAKEOVER_TRY = 10
_TROUBLE_TOLD_EVERY_S = 4.0
_LOOK_AGAIN_S = 1.0
_UNCOMMITTED_BYTES = 8 * 1024 * 1024
"""So much of what is proved is sent before another look whether the disk has taken it."""
_LINGER_S = 0.5
"""So long a transfer waits for its first byte without a client: who has lost patience asks again at once,
and another process may follow it."""


class Tower(Protocol):
    """Who runs the fills of a process."""

    @property
    def places(self) -> Places:
        """Where a fill takes its place."""

    @property
    def demand(self) -> Demand:
        """What clients wait for, here and elsewhere."""

    def let_go(self, fill: "Fill") -> None:
        """End a fill that nobody wants, so that whoever comes begins another."""


class OutOfReach(ProxyError):
    """An item that nobody can be asked for at the moment, though it may come yet."""

    def __init__(self, item: Item, problem: str) -> None:
        super().__init__(f"{item.path} is not here, and no origin can be had now; last: {problem}")
        self.problem = problem


class Fill:
    """The way of one item into the store."""

    def __init__(
        self,
        item: Item,
        sources: list[Source],
        pull_from: Callable[[int, Doubts], Pull],
        storage: Storage,
        liars: Liars,
        pace: Pace,
        tower: Tower,
        look: Findings | None = None,
    ) -> None:
        self.item = item
        self._tower = tower
        self._look = look
        """What was found out just before this began, for the first time that it leads."""
        self._sources = sources
        self.pull_from = pull_from
        self._storage = storage
        self._store = storage.store
        self._room = storage.room
        self._threads = storage.threads
        self._liars = liars
        self._failures = liars.failures
        self._demand = tower.demand
        self._pace = pace
        self.company = Company(self._welcome, self._consider)
        self._noted_at = 0.0
        """When other processes were told last that clients wait for it here."""
        self._is_waiting = True
        """For its place."""
        self._partial: Partial | None = None
        self._news = asyncio.Event()
        self.filled_bytes = 0
        self.is_verified = False
        self.is_led_elsewhere = False
        """Whether another process fetches it, or has."""
        self.is_over = False
        self.error: ProxyError | None = None
        self._trouble: str | None = None
        """Why no origin could be had of late."""
        self._trouble_told_at = -math.inf

    async def run(self) -> None:
        """Fill until the blob is committed, or record why it cannot be."""
        try:
            await self._tower.places.take(self, next(iter(self.company.clients), None))
            self._is_waiting = False
            while not await self._advance():  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(_FOLLOW_POLL_S)
        except ProxyError as error:
            self.error = error
        except OSError as error:
            self.error = StoreFault.of("the disk failed", error)
        except asyncio.CancelledError:
            self.error = StoreFault("the transfer was stopped")
            raise
        except Exception:
            self.error = StoreFault("the program has a fault")
            raise
        finally:
            self._tower.places.give_back(self)
            if self.error is not None and self.company:
                log.warning("blob.not_filled digest=%s problem=%s", self.item.digest, self.error)
            self.is_over = True
            self._tell()

    def add_source(self, source: Source) -> None:
        """Let the bytes come from elsewhere too: the same content may have several names."""
        if all((source.route, source.path) != (known.route, known.path) for known in self._sources):
            self._sources.append(source)

    async def begun(self, within_s: float) -> None:
        """Return when there is something to read.

        Raises the fill's error if it failed before, and OutOfReach after `within_s` or more when no
        origin can be had.
        """
        loop = asyncio.get_running_loop()
        told_at = loop.time() + within_s
        while not self.filled_bytes and not self.is_verified:
            if self.error is not None:
                raise self.error
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(told_at):
                    await self._news.wait()
            if loop.time() >= told_at:
                await self.check_reach()
                told_at = loop.time() + _LOOK_AGAIN_S

    def reader(self, client: str) -> "FillReader":
        """Return a view of the growing file for a client, once it has `begun`."""
        if self.error is not None:
            raise self.error
        if self._partial is None or self._partial.fd < 0:
            raise StoreFault("its file is closed")
        return FillReader(self, os.dup(self._partial.fd), client)

    def close(self) -> None:
        """Let go of the file; readers keep theirs."""
        if self._partial is not None:
            self._partial.close()

    async def check_reach(self) -> None:
        """Raise OutOfReach when no origin can be had for now, in whichever process leads."""
        problem = await self._failures.trouble(self.item) if self.is_led_elsewhere else self._trouble
        if problem is not None:
            raise OutOfReach(self.item, problem)

    async def changed(self) -> None:
        """Return at the next news."""
        await self._news.wait()

    async def _advance(self) -> bool:
        """Lead or follow for as long as that goes well; say whether the blob is committed."""
        incoming = await self._acquire()
        if incoming is None:
            return await self._follow()
        try:
            if self._store.has(self.item.digest):
                await self._threads.disk(incoming.discard)
                return await self._adopt_blob()
            if self._partial is not None:
                # Its leader is gone: dead, or because it was refused.
                await self._check_takeover(self._partial, incoming)
            await self._lead(incoming)
        finally:
            await ended(asyncio.ensure_future(self._threads.disk(incoming.close)))
        self._keep_for_readers()
        return True

    async def _acquire(self) -> Incoming | None:
        """Become the one who writes, unless another process is.

        Who is cancelled meanwhile lets go of it all the same: nobody else could lead until this process ends.
        """
        item = self.item
        acquiring = asyncio.ensure_future(
            self._threads.disk(Incoming.acquire, self._store, item.digest, item.size_bytes)
        )
        try:
            await ended(acquiring)
        except asyncio.CancelledError:
            incoming = None if acquiring.exception() else acquiring.result()
            if incoming is not None:
                await ended(asyncio.ensure_future(self._threads.disk(incoming.close)))
            raise
        return acquiring.result()

    # Leading

    async def _lead(self, incoming: Incoming) -> None:
        self.is_led_elsewhere = False
        self._watch_file()
        look, self._look = self._look, None
        lead = Leader(
            self.item, self._sources, incoming, self._storage, self._liars, self.pull_from, audience=self
        )
        await lead.run(look)

    async def _check_takeover(self, partial: Partial, incoming: Incoming) -> None:
        """Raise BegunAnew, BadItem or StoreFault when our readers cannot be given what will be written.

        Then the file goes again, if it was made by this attempt.
        """
        try:
            await self._failures.check(self.item, self._origins)
            if not partial.is_same(incoming.fd):
                await self._check_not_wrong()
                self._check_same(incoming.fd)
        except ProxyError:
            if not incoming.length_bytes:
                await self._threads.disk(incoming.discard)
            raise

    async def _check_not_wrong(self) -> None:
        memory = await self._liars.recall(self.item)
        if memory.is_any:
            raise BegunAnew(self.item, "another worker got wrong bytes")

    # Following

    async def _follow(self) -> bool:
        """Watch another process fill; say whether the blob is committed."""
        self.is_led_elsewhere = True
        self._look = None
        self._watch_file()
        if self._partial is None:
            return await self._adopt_blob()
        for _ in range(_POLLS_PER_TAKEOVER_TRY):
            self._note_demand()
            progress = self._partial.look()
            self.report(progress.length_bytes)
            if progress.is_verified and progress.length_bytes == self.item.size_bytes:
                self.show_verified()
            elif progress.is_discarded:
                await self._failures.check(self.item, self._origins)
                await self._check_not_wrong()
                return self._begin_anew()
            if self._store.has(self.item.digest):
                return await self._adopt_blob()
            await asyncio.sleep(_FOLLOW_POLL_S)
        return False

    def _begin_anew(self) -> bool:
        """Leader, now that another process has given up; raise StoreFault if part of its file is read here.

        Nobody waited there any more; or it could not store it, and nor will this process.
        """
        if self.filled_bytes or self._partial is None:
            raise StoreFault("another worker could not store it")
        self._partial.close()
        self._partial = None
        return False

    async def _adopt_blob(self) -> bool:
        """Read on from the committed blob; say whether it is there."""
        blob = self._store.open(self.item.digest, self.item.size_bytes)
        if blob is None:
            await self._failures.check(self.item, self._origins)
            await self._judge_size()
            return False
        if self._partial is None:
            self._partial = Partial(blob.fd)
        else:
            with blob:
                self._check_same(blob.fd)
        self.report(self.item.size_bytes)
        self.show_verified()
        self._keep_for_readers()
        await self._threads.ledger(self._room.give_back, self.item.digest)
        return True

    async def _judge_size(self) -> None:
        """Decide who is wrong when a blob is here with another size than the list gives.

        Raises BadItem when it is the list; a damaged blob is set aside.
        """
        problem = await self._threads.slow(self._store.audit, self.item.digest, self.item.size_bytes)
        if problem is not None:
            wrong = dict.fromkeys(self._origins, problem)
            await self._failures.remember_wrong(self.item, wrong, WRONG_BYTES)
            raise BadItem(self.item.digest, problem)

    def _check_same(self, fd: int) -> None:
        """Raise StoreFault unless our readers read that very file: another may hold other bytes."""
        if self._partial is not None and not self._partial.is_same(fd):
            raise StoreFault("another process began the file anew")

    @property
    def sources(self) -> Sequence[Source]:
        """Where the bytes may come from."""
        return self._sources

    @property
    def _origins(self) -> list[str]:
        return [name for source in self._sources for name in source.route.names]

    # Whose turn it is

    @property
    def at_once_bytes(self) -> int:
        """Much for those who wait; else little, so that a bandwidth is kept evenly."""
        return _AT_ONCE_BYTES if self.company.clients else _AT_ONCE_IN_BACKGROUND_BYTES

    async def give_way(self, count: int) -> None:
        """Go on at once while clients wait for this fill, else at the pace of the background."""
        if self.company.clients:
            self._note_demand()
        else:
            await self._pace.admit(self.item.digest, count)

    def _welcome(self, client: str) -> None:
        self._tower.places.wanted(self, client)
        self._note_demand()

    def _note_demand(self) -> None:
        if self.company.clients:
            self._noted_at = time.monotonic()
            self._demand.note(self.item.digest, self._noted_at)

    # When nobody waits any more

    @property
    def left_bytes(self) -> int:
        """How much is still to come."""
        return self.item.size_bytes - self.filled_bytes

    @property
    def is_dispensable(self) -> bool:
        """Whether nobody would miss it now: here, or in a process that follows it."""
        is_wanted = self.company or self.is_verified or self.is_over
        return not is_wanted and not self._demand.is_wanted_since(self.item.digest, self._noted_at)

    def let_go(self) -> None:
        """End soon; what has arrived is kept, and nothing else."""
        self._tower.let_go(self)

    def _consider(self) -> None:
        """Decide what becomes of it, now that the last one has left."""
        if self.is_over or self.is_verified or self.company:
            return
        if self._is_waiting or self.is_led_elsewhere or not self.company.had_clients:
            self.let_go()
        elif self.filled_bytes:
            self._tower.places.unwanted(self)
        else:
            asyncio.get_running_loop().call_later(_LINGER_S, self._consider_again)

    def _consider_again(self) -> None:
        if self.is_dispensable and not self.filled_bytes:
            self.let_go()
        else:
            self._consider()

    # News

    def _watch_file(self) -> None:
        if self._partial is None:
            self._partial = Partial.open(self._store, self.item.digest)

    def report(self, filled_bytes: int) -> None:
        """Let clients have so much."""
        if filled_bytes != self.filled_bytes:
            self.filled_bytes = filled_bytes
            self._trouble = None
            self._tell()

    async def hear_of_trouble(self, error: OriginError) -> None:
        """Tell those who wait, here and in other processes, that no origin can be had for now."""
        self._trouble = str(error)
        self._tell()
        now = time.monotonic()
        if now - self._trouble_told_at >= _TROUBLE_TOLD_EVERY_S:
            self._trouble_told_at = now
            await self._failures.remember_trouble(self.item, self._trouble)

    def show_verified(self) -> None:
        """Let clients have the end too."""
        if not self.is_verified and self._partial is not None:
            self.is_verified = True
            self._tell()

    def _keep_for_readers(self) -> None:
        if self._partial is not None:
            self._partial.keep()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class FillReader:
    """One client's place at a running fill."""

    def __init__(self, fill: Fill, fd: int, client: str) -> None:
        self._fill = fill
        self.fd = fd
        self._waiting = contextlib.ExitStack()
        self._waiting.enter_context(fill.company.with_client(client))

    async def available(self, position: int, start: int, stop: int, feed: FeedOptions) -> int:
        """Return up to which offset, past `position`, a reply of [start, stop) may be sent now.

        Waits for news, or until it is time for a drip of the reserve. Raises
        the fill's error, and OutOfReach as `begun` does while the reply has no byte.
        """
        loop = asyncio.get_running_loop()
        drip_at = loop.time() + feed.drip_interval_s
        told_at = loop.time() + feed.first_byte_within_s if position == start else math.inf
        while True:
            fill = self._fill
            if fill.error is not None:
                # Also of what was proved: what the disk did not take may be gone from memory too.
                raise fill.error
            if fill.is_verified:
                return stop if fill.is_over else min(stop, position + _UNCOMMITTED_BYTES)
            limit = held_end(start, stop)
            end = min(flowing_end(fill.filled_bytes, feed), limit)
            if end > position:
                return end
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(min(drip_at, told_at)):
                    await fill.changed()
            if loop.time() >= told_at:
                await fill.check_reach()
                told_at = loop.time() + _LOOK_AGAIN_S
            if loop.time() >= drip_at:
                drip_at = loop.time() + feed.drip_interval_s
                end = min(drip_end(position, fill.filled_bytes), limit)
                if end > position:
                    return end

    async def proved(self) -> None:
        """Return once the bytes are proved. Raises the fill's error."""
        while not self._fill.is_verified:
            if self._fill.error is not None:
                raise self._fill.error
            await self._fill.changed()

    def close(self) -> None:
        """Let go of the file, and of the fill."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1
            self._waiting.close()

"""One download of one item, shared by everybody who waits for it.

A Fill belongs to no client. In the process that holds the partial file's lock it
leads (`leader.py`). In every other process it follows (`follower.py`), and takes
over if the leader's process dies. Those who wait see the same either way
(`progress.py`). Where it stands, and what may come next, is in `state.py`.

When nobody wants it any more it ends, unless a client wanted it and part of it has
come: then it goes on for as long as others do not need its place.

Order of locks: the partial file's lock is taken first, then the store is asked
again, because another process may have committed the blob between a miss and the lock.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterator

from proxy.errors import ProxyError
from proxy.fills.errors import OutOfReach
from proxy.fills.facilities import Facilities
from proxy.fills.failures import Preflight
from proxy.fills.follower import POLL_S, Follower
from proxy.fills.interest import Interest
from proxy.fills.leader import Leader
from proxy.fills.pace import Pace, Turn
from proxy.fills.progress import Progress
from proxy.fills.silence import signs_of_life
from proxy.fills.state import State
from proxy.simplestreams.model import Item
from proxy.sources.candidates import Source
from proxy.store.files import StoreFault
from proxy.store.protocols import Incoming
from proxy.system.threads import ended, outcome

log = logging.getLogger(__name__)

REACH_CHECKED_EVERY_S = 1.0
"""So often a client that has no byte yet learns whether an origin can be reached."""
_LINGER_S = 0.5
"""So long a transfer without clients waits for its first byte: a client that has lost patience asks again
at once, and another process may be following it."""
_MUCH_TO_HASH_BYTES = 4 * 1024 * 1024
"""To hash a beginning that long again would keep others from their short visits to the disk."""


class Fill:
    """The way of one item into the store: a task, from its place in the queue to the committed blob."""

    def __init__(
        self, item: Item, source: Source, facilities: Facilities, pace: Pace, preflight: Preflight | None
    ) -> None:
        self.item = item
        self.sources = [source]
        """Where the bytes may come from; a pull that runs sees those that are added."""
        self.progress = Progress(item)
        self._facilities = facilities
        self._storage = facilities.storage
        self._places = facilities.places
        self._preflight = preflight
        """What the ledger said just before this began, for the first time that it leads."""
        self._interest = Interest(item.digest, facilities.demand, time.monotonic)
        self._follower = Follower(self.progress, self.sources, self._interest, facilities)
        self._turn = Turn(item.digest, self._interest, pace)
        self.task = asyncio.create_task(self._run(), name=f"fill {item.digest[:12]}")
        self.task.add_done_callback(self._land)

    def __repr__(self) -> str:
        return f"Fill({self.progress!r}; {self._interest!r})"

    # For those who want it

    @property
    def is_joinable(self) -> bool:
        """Whether who comes now may wait for it."""
        state = self.progress.state
        return not state.is_final and state is not State.LEAVING

    @property
    def is_led_elsewhere(self) -> bool:
        """Whether another process fetches it, or has."""
        return self.progress.role is State.FOLLOWING

    def add_source(self, source: Source) -> None:
        """Let the bytes come from elsewhere too: the same content may have several names."""
        if all((source.route, source.path) != (known.route, known.path) for known in self.sources):
            self.sources.append(source)

    @contextlib.contextmanager
    def wanted_by(self, client: str | None) -> Iterator[None]:
        """Count a client, or None for a job, as one who wants it for the length of the context."""
        self._interest.add(client)
        if client is not None:
            self._places.wanted(self, client)
        try:
            yield
        finally:
            self._interest.remove(client)
            self._consider_leaving()

    async def begun(self) -> None:
        """Return when there is something to read.

        Raises the fill's error if it failed before, and OutOfReach when it takes long and no origin can
        be reached.
        """
        loop, progress = asyncio.get_running_loop(), self.progress
        check_at = loop.time() + self._facilities.feed.first_byte_within_s
        # Of an item without bytes the proof alone can be waited for: another list may give it a size.
        while not (progress.filled_bytes and self.item.size_bytes) and not progress.state.is_proved:
            if progress.error is not None:
                raise progress.error
            await progress.changed(check_at)
            if loop.time() >= check_at:
                await self.check_reach()
                check_at = loop.time() + REACH_CHECKED_EVERY_S

    async def check_reach(self) -> None:
        """Raise OutOfReach when no origin can be reached for now, in whichever process leads."""
        failures = self._facilities.failures
        problem = await failures.unreachable(self.item) if self.is_led_elsewhere else self.progress.trouble
        if problem is not None:
            raise OutOfReach(self.item, problem)

    # Its way

    async def _run(self) -> None:
        """Fill until the blob is committed, or tell why it cannot be."""
        progress = self.progress
        try:
            await self._places.take(self, next(iter(self._interest.clients), None))
            progress.enter(State.STARTING)
            while not await self._advance():  # noqa: ASYNC110 - the event is in another process
                await asyncio.sleep(POLL_S)
            progress.enter(State.COMMITTED)
        except ProxyError as error:
            progress.end(State.FAILED, error)
        except OSError as error:
            progress.end(State.FAILED, StoreFault.of("the disk failed", error))
        except asyncio.CancelledError:
            progress.end(State.STOPPED, StoreFault("the transfer was stopped"))
            raise
        except Exception:
            progress.end(State.FAILED, StoreFault("the program has a fault"))
            raise
        finally:
            self._places.give_back(self)
            if progress.error is not None and self._interest:
                log.warning("blob.not_filled digest=%s problem=%s", self.item.digest, progress.error)

    async def _advance(self) -> bool:
        """Lead or follow for as long as that goes well; say whether the blob is committed."""
        incoming = await self._acquire()
        if incoming is None:
            if self.progress.state is State.STARTING:
                self.progress.enter(State.FOLLOWING)
            return await self._follower.watch()
        try:
            if self._storage.store.has(self.item.digest):
                await self._storage.threads.disk(incoming.discard)
                return await self._follower.adopt()
            await self._lead(incoming)
        finally:
            await ended(asyncio.wrap_future(self._storage.threads.begin_disk(incoming.close)))
        self.progress.keep_file()
        return True

    async def _lead(self, incoming: Incoming) -> None:
        """Write the file, begun here or by a process that is gone."""
        progress = self.progress
        preflight = self._preflight if progress.state is State.STARTING else None
        if progress.file is not None:
            await self._follower.check_takeover(progress.file, incoming)
        if not progress.state.is_proved:
            progress.enter(State.LEADING)
        if progress.file is None:
            progress.file = self._storage.store.follow(self.item.digest)
        if progress.file is None:
            raise StoreFault("somebody has removed its partial file")
        async with signs_of_life(incoming, self._storage.threads):
            await Leader(progress, self.sources, incoming, self._turn, self._facilities).run(preflight)

    async def _acquire(self) -> Incoming | None:
        """Become the one who writes, unless another process is.

        Who is cancelled meanwhile lets go of it all the same: nobody else could lead until this process ends.
        """
        item, store, threads = self.item, self._storage.store, self._storage.threads
        is_long = store.stored_bytes(item.digest, item.size_bytes) >= _MUCH_TO_HASH_BYTES
        begin = threads.begin_resume if is_long else threads.begin_disk
        acquiring = begin(store.acquire, item.digest, item.size_bytes)
        try:
            return await outcome(acquiring)
        except asyncio.CancelledError:
            has_failed = acquiring.cancelled() or acquiring.exception() is not None
            incoming = None if has_failed else acquiring.result()
            if incoming is not None:
                await ended(asyncio.wrap_future(threads.begin_disk(incoming.close)))
            raise

    def _land(self, task: asyncio.Task[None]) -> None:
        """Let go of all, also if the task never came to run."""
        if not self.progress.state.is_final:
            self.progress.end(State.STOPPED, StoreFault("the transfer was stopped"))
            self._places.give_back(self)
        self.progress.close_file()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("blob.fill_crashed digest=%s", self.item.digest, exc_info=error)

    # When nobody waits any more

    @property
    def left_bytes(self) -> int:
        """How much is still to come."""
        return self.item.size_bytes - self.progress.filled_bytes

    @property
    def is_dispensable(self) -> bool:
        """Whether nobody would miss it now: here, or in a process that follows it."""
        is_alone = self.progress.state.is_unproved and not self._interest
        return is_alone and not self._interest.has_clients_elsewhere()

    def let_go(self) -> None:
        """End soon, so that whoever comes begins another; what has arrived is kept, and nothing else."""
        if self.progress.state.is_unproved and not self.task.cancelling():
            log.info("blob.let_go digest=%s bytes=%d", self.item.digest, self.progress.filled_bytes)
            self._storage.counters.transfers.let_go()
            self.progress.enter(State.LEAVING)
            self.task.cancel()

    def _consider_leaving(self) -> None:
        """Decide what becomes of it, if the last one who wanted it has left."""
        state = self.progress.state
        if self._interest or not state.is_unproved:
            return
        if state in {State.QUEUED, State.FOLLOWING} or not self._interest.had_clients:
            self.let_go()
        elif self.progress.filled_bytes:
            self._places.unwanted(self)
        else:
            asyncio.get_running_loop().call_later(_LINGER_S, self._leave_if_alone)

    def _leave_if_alone(self) -> None:
        if self.is_dispensable and not self.progress.filled_bytes:
            self.let_go()
        else:
            self._consider_leaving()

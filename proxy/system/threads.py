"""Where blocking work goes, so that the event loop never waits for it.

Seven kinds of work, seven pools: short visits to the disk that a client waits for; hashing again
what is here of an interrupted transfer, which takes as long as the disk takes to give it; receiving,
hashing and writing much of what arrives, which keeps a CPU busy for as long as it lasts, and
gives it up to whatever has only little to do, such as the event loop of any worker;
syncs of what has arrived, which no client waits for and which take as long as the disk
takes; short visits to the ledger, one at a time; removing blobs for room, which takes as
long as a disk takes to free them; and whatever else takes long, such as gpg and reading a
products list. Other kinds have threads where they are done: names are looked up in
`sources/http/names.py`, and `web/wire/sinks.py` sends what the disk has to be waited for.
The event loop's own pool, which anybody shares, is used by nobody: whatever hangs then
stops its own kind only.
"""

import asyncio
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")

_FEWEST_DRAWS = 2
"""In all workers together: one may wait for the disk to take what it has written."""
_MOST_DRAWS = 8
_NICER_BY = 10
"""How much nicer than the event loop threads are that keep a CPU busy. A tenth of a CPU hashes and writes
more than most links bring."""


class Threads:
    """The thread pools of one process."""

    def __init__(self, sharing: int = 1) -> None:
        """Open the pools of one of so many processes that share the CPUs."""
        self._disk = ThreadPoolExecutor(8, "disk")
        self._resume = ThreadPoolExecutor(8, "resume", initializer=_be_nicer)
        self._draw = ThreadPoolExecutor(_draws_at_once(sharing), "draw", initializer=_be_nicer)
        self._sync = ThreadPoolExecutor(8, "sync")
        self._signs = ThreadPoolExecutor(1, "signs")
        self._ledger = ThreadPoolExecutor(1, "ledger")
        self._slow = ThreadPoolExecutor(4, "slow")
        self._removal = ThreadPoolExecutor(1, "removal")
        self._last: list[Callable[[], None]] = []

    async def disk(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Run disk work that a client waits for."""
        return await _answer(self._disk.submit(function, *args))

    def begin_disk(self, function: Callable[[*_Args], _Result], *args: *_Args) -> Future[_Result]:
        """Run such work while whoever wants it does something else; see `outcome` and `when_done`."""
        return self._disk.submit(function, *args)

    def begin_resume(self, function: Callable[[*_Args], _Result], *args: *_Args) -> Future[_Result]:
        """Run work that reads all that is here of something large, before more of it can come."""
        return self._resume.submit(function, *args)

    def begin_draw(self, function: Callable[[*_Args], _Result], *args: *_Args) -> Future[_Result]:
        """Run work that keeps a CPU busy with what arrives: as many at a time, in all workers, as CPUs."""
        return self._draw.submit(function, *args)

    async def sync(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Run work that lasts until the disk has written something."""
        return await _answer(self._sync.submit(function, *args))

    def begin_sync(self, function: Callable[[*_Args], None], *args: *_Args) -> Future[None]:
        """Run such work with nobody waiting for it; it may raise nothing, and never begin."""
        return self._sync.submit(function, *args)

    async def sign(self, function: Callable[[*_Args], None], *args: *_Args) -> None:
        """Run what shows others that this process lives: no client waits for it, however slow the disk is."""
        await _answer(self._signs.submit(function, *args))

    async def ledger(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Run ledger work; one at a time, in order."""
        return await _answer(self._ledger.submit(function, *args))

    async def slow(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Run work that may take seconds."""
        return await _answer(self._slow.submit(function, *args))

    async def removal(self, function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
        """Remove what makes room; one at a time, for as long as the disk takes to free it."""
        return await _answer(self._removal.submit(function, *args))

    def when_ended(self, function: Callable[[], None]) -> None:
        """Have something done once no thread is at work any more."""
        self._last.append(function)

    async def close(self) -> None:
        """Finish what runs, start nothing more; then do what was to be done last."""
        closing = ThreadPoolExecutor(1, "close")
        loop = asyncio.get_running_loop()
        of_the_disk = (self._signs, self._disk, self._resume, self._draw, self._sync)
        for pool in (*of_the_disk, self._slow, self._removal, self._ledger):
            await loop.run_in_executor(closing, partial(pool.shutdown, wait=True, cancel_futures=True))
        while self._last:
            await loop.run_in_executor(closing, self._last.pop())
        closing.shutdown(wait=False)


async def ended(work: asyncio.Future[Any]) -> None:
    """Return when something has ended, however often whoever waits is cancelled; then that takes effect.

    What it raised is for whoever awaits it too.
    """
    cancelled = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if not work.cancelled():
        work.exception()  # Or asyncio would log it as one that nobody saw.
    if cancelled is not None:
        raise cancelled


async def unless_cancelled(work: Awaitable[_Result], stop: Callable[[], None]) -> _Result:
    """Return what work comes to; whoever is cancelled meanwhile has it stop, and waits until it has ended."""
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop()
        await ended(running)
        raise


async def outcome(work: Future[_Result]) -> _Result:
    """Return what work in a thread comes to, once it has ended: as `ended`, but with no task for it.

    Each task between a thread and who waits for it is one or two turns of the event loop more.
    """
    cancelled = None
    while not work.done():
        waiter = asyncio.get_running_loop().create_future()
        when_done(work, partial(_release, waiter))
        try:
            await waiter
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    if work.cancelled():
        raise asyncio.CancelledError
    return work.result()


async def _answer(work: Future[_Result]) -> _Result:
    """Return what work in a thread comes to. Who is cancelled waits no more, and nothing begins afterwards.

    As the event loop's run_in_executor, for half of its time: each first byte waits for some of these.
    """
    if not work.done():
        waiter = asyncio.get_running_loop().create_future()
        when_done(work, partial(_release, waiter))
        try:
            await waiter
        except asyncio.CancelledError:
            work.cancel()
            raise
    if work.cancelled():
        raise asyncio.CancelledError
    return work.result()


def when_done(work: Future[Any], then: Callable[[], None]) -> None:
    """Have the event loop do something once work in a thread has ended, unless that is closed by then."""
    loop = asyncio.get_running_loop()

    def tell(_: Future[Any]) -> None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(then)

    work.add_done_callback(tell)


def _release(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _draws_at_once(sharing: int) -> int:
    """Return how many threads may keep CPUs busy in each of the processes that share these.

    More finish no sooner, hold up the event loops, and cost CPU time: each has its turn less often, and
    finds less of its data in the CPU's cache.
    """
    in_all = min(_MOST_DRAWS * sharing, max(_FEWEST_DRAWS, len(os.sched_getaffinity(0))))
    return max(1, in_all // sharing)


def _be_nicer() -> None:
    """Let other threads have the CPU before the one that calls this, now and later."""
    with contextlib.suppress(OSError):
        nice = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice + _NICER_BY)

"""Keeping a mirror current: when it is checked, by which worker, and for whom.

One worker at a time checks a mirror (the lock of the shared facts); the others wait for it
and load what it has accepted. Once there is a generation, checks run in the background:

    a client reads         a check begins if the last one is too long ago
    a check has failed     none begins before a pause that grows with each failure
    somebody demands one   it begins at once, or after the one that runs

What a check does is the business of `origin_check.py`.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable

from proxy.documents.editions import Editions
from proxy.documents.flavours import flavour_of
from proxy.documents.freshness import FreshnessPolicy, Verdict, decide, recheck_after_s, retry_pause_s
from proxy.documents.generation import Edition
from proxy.documents.mirror_status import lists_in_trouble
from proxy.documents.origin_check import OriginCheck
from proxy.documents.shared_facts import SharedFacts
from proxy.documents.trouble import Trouble
from proxy.documents.unforeseen import UnforeseenError
from proxy.errors import ProxyError
from proxy.moments import NO_PAUSE, Pause, within
from proxy.sources.offline import Offline
from proxy.sources.origin import Origin

log = logging.getLogger(__name__)

_OTHER_WORKER_POLL_S = 0.05
_BRIEF_WAIT_S = 5.0
_FIRST_WAIT_S = 25.0
"""Longest wait for a first generation; MAAS allows its whole metadata pass 30 s."""
_NOT_ENDED = "not all of its lists have arrived yet"
"""The origins may be slow, or wait for a limit of ours."""


class Checks:
    """The checks of one mirror."""

    def __init__(
        self,
        mirror: str,
        check: OriginCheck,
        editions: Editions,
        shared: SharedFacts,
        policy: FreshnessPolicy,
        clock: Callable[[], float],
        offline: Offline,
    ) -> None:
        self._mirror = mirror
        self._check = check
        self._editions = editions
        self._shared = shared
        self._policy = policy
        self._clock = clock
        self._offline = offline
        self.running: asyncio.Task[None] | None = None
        """The check that this worker makes, or waits for."""
        self._pause = NO_PAUSE
        """During which origins that have just failed are not asked."""
        self._demands = 0
        self._demands_met = 0
        self._demands_pause = NO_PAUSE
        """During which `check_soon` changes nothing."""
        self._used_at = -math.inf
        self._past_caches = False
        self._accepts_older = False

    @property
    def trouble(self) -> Trouble:
        """What went wrong with the last checks, as far as this worker knows."""
        return self._check.trouble

    # For clients

    def begin_if_due(self) -> None:
        """Begin a check if what was accepted last is due for one, for a client that reads."""
        self._used_at = self._clock()
        if self._is_due():
            self._begin()

    async def wait_for_first(self) -> None:
        """Wait for the check that runs, for a client that can be served nothing yet."""
        if self.running is not None:
            await asyncio.wait([self.running], timeout=_FIRST_WAIT_S)
            await self._editions.adopt_announced()

    async def check_briefly(self) -> None:
        """Check with the origins for a client that waits, unless they have just failed."""
        if self._offline.is_on or self._pause.is_on(self._clock()):
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_BRIEF_WAIT_S):
                await self.revalidate()

    def check_soon(self) -> None:
        """Check past caches without anybody waiting: a listed file is gone, upstream or here."""
        now = self._clock()
        if not self._offline.is_on and not self._demands_pause.is_on(now):
            self._demands_pause = Pause(now, self._policy.retry_after_s)
            self._past_caches = True
            self._pause = NO_PAUSE
            self._demands += 1
            self._begin()

    # For operators and jobs

    async def revalidate(self) -> None:
        """Check with the origins now, however fresh the generation is; `trouble` says what came of it."""
        if self._offline.is_on:
            return
        self._demands = mine = self._demands + 1
        while self._demands_met < mine:
            self._pause = NO_PAUSE
            self._begin()
            running = self.running
            if running is not None:
                await asyncio.wait([running])
                if running.cancelled() or running.exception() is not None:
                    return

    async def confirm(self, *, accept_older: bool = False) -> str | None:
        """Check with the origins now; return why they did not confirm what was accepted last, or None.

        `accept_older` lets what they publish replace what was accepted though it is older, this once.
        """
        before = self._check.generation
        self._past_caches = True
        self._accepts_older |= accept_older
        try:
            await self.revalidate()
        finally:
            # Whatever came of it, later checks must not accept what is older.
            self._accepts_older &= not accept_older
        generation = self._check.generation
        if generation is not None and generation is not before and not self.trouble.failures:
            return "; ".join(lists_in_trouble(generation).values()) or None
        return self.reason()

    async def examine(self, origin: Origin, *, accept_older: bool = False) -> Edition:
        """Return what an origin publishes, verified as by `confirm`; accept nothing.

        Raises RollbackError for what is older than what was accepted, unless that is accepted now, and
        whatever else keeps it from being accepted.
        """
        await self._editions.adopt()
        return await self._check.examine(origin, accepts_older=accept_older)

    def reason(self) -> str:
        """Return why checks do not succeed, and why what was accepted before is not served."""
        problem = "the proxy is offline" if self._offline.is_on else self.trouble.last_problem
        unverified = self._check.why_unverified()
        return "; ".join(filter(None, (problem or _NOT_ENDED, unverified)))

    async def watch(self) -> None:
        """Check for as long as clients use the mirror, so that they find it fresh.

        After a failure, until a check succeeds: nobody is to be alarmed for ever by the last
        failure of a mirror that nobody uses.
        """
        while True:
            await asyncio.sleep(self._policy.fresh_for_s)
            try:
                if self._is_in_use() or await self._has_failed():
                    await self._editions.adopt_announced()
                    if self._is_due():
                        self._begin()
            except Exception as error:  # noqa: BLE001 - the next time may go well
                log.warning("mirror.not_checked mirror=%s problem=%s", self._mirror, error)

    async def close(self) -> None:
        """Stop the check that runs."""
        if self.running is not None:
            self.running.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await self.running

    # When

    def _is_in_use(self) -> bool:
        return self._clock() - self._used_at < self._policy.idle_after_s

    async def _has_failed(self) -> bool:
        """Whether the last check failed, of whatever worker."""
        if self.running is None:
            await self._check.read_trouble()
        return self.trouble.failures > 0

    def _is_due(self) -> bool:
        """Whether what was accepted last was checked too long ago."""
        generation, now = self._check.generation, self._clock()
        checked_at = None if generation is None else generation.checked_at
        return decide(checked_at, now, self._policy) is not Verdict.FRESH or self._lacks_something(now)

    def _lacks_something(self, now: float) -> bool:
        """Whether it is time to ask for what the index names and the origin did not give, or gave wrong.

        Other flavours of the documents may be absent for good.
        """
        generation = self._check.generation
        if generation is None:
            return False
        absent = [path for path in generation.absent if flavour_of(path, generation) is None]
        pause_s = recheck_after_s(generation.checked_at - generation.accepted_at, self._policy)
        return bool(generation.refused or absent) and not within(generation.checked_at, now, pause_s)

    def _begin(self) -> None:
        if self._offline.is_on or self.running is not None or self._pause.is_on(self._clock()):
            return
        self.running = asyncio.create_task(self._run(), name=f"check {self._mirror}")
        self.running.add_done_callback(self._end)

    def _end(self, _: asyncio.Task[None]) -> None:
        self.running = None

    # By whom

    async def _run(self) -> None:
        """Check, and see to it that whatever goes wrong is recorded, and tried again."""
        try:
            await self._run_alone()
        except Exception as error:  # noqa: BLE001 - a mirror must not stand still in silence
            problem = error if isinstance(error, ProxyError) else UnforeseenError(error)
            log.error("mirror.check_failed mirror=%s problem=%s", self._mirror, problem)  # noqa: TRY400
            self._demands_met = self._demands
            try:
                await self._check.note_failure([problem])
            finally:
                self._pause_after_failure()

    async def _run_alone(self) -> None:
        if not self._shared.try_lock():
            await self._await_other_worker()
            return
        try:
            await self._editions.adopt()
            await self._check.read_trouble()
            is_demanded = self._demands_met < self._demands
            self._demands_met = self._demands
            if is_demanded or self._is_due():
                await self._ask_origins()
        finally:
            self._shared.unlock()

    async def _ask_origins(self) -> None:
        past_caches, self._past_caches = self._past_caches, False
        accepts_older, self._accepts_older = self._accepts_older, False
        if not await self._check.run(past_caches=past_caches, accepts_older=accepts_older):
            self._pause_after_failure()

    async def _await_other_worker(self) -> None:
        while not self._shared.try_lock():  # noqa: ASYNC110 - the event is in another process
            await asyncio.sleep(_OTHER_WORKER_POLL_S)
        self._shared.unlock()
        await self._editions.adopt()
        await self._check.read_trouble()

    def _pause_after_failure(self) -> None:
        self._pause = Pause(self._clock(), retry_pause_s(self.trouble.failures, self._policy))

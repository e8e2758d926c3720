"""Running rules when they are due, for as long as the server lives.

Each rule has a task of its own, so that a slow one does not keep the others
waiting. Whatever goes wrong with one is told, and tried again.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from proxy.errors import ProxyError
from proxy.jobs.rulebook import Result, RuleBook, RuleBusy
from proxy.jobs.rules import Rule
from proxy.jobs.run_rule import RuleRunner
from proxy.jobs.watching import Watcher
from proxy.moments import lies_ahead
from proxy.service.cache import Cache

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
"""How soon it is noticed that a rule is due or asked for."""
_LEAST_PAUSE_S = 60.0
"""Between two runs of a rule, whatever its schedule says, so that a fault cannot spin."""
_RETRY_S = 900.0
"""After a run that was not complete; the schedule may come sooner."""


class Scheduler:
    """Knows when each rule is due, and runs it then."""

    def __init__(
        self,
        cache: Cache,
        rules: Sequence[Rule],
        book: RuleBook,
        runner: RuleRunner,
        clock: Callable[[], float],
        random: Random,
        hold_s: float,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._offline = cache.offline
        self._ledger = cache.storage.threads.ledger
        self._rules = rules
        self._book = book
        self._runner = runner
        self._clock = clock
        self._random = random
        self._hold_s = hold_s
        self._look_every_s = look_every_s
        self._asked: set[str] = set()

    async def run(self) -> None:
        """Run rules until cancelled."""
        try:
            gone = await self._ledger(self._book.release_all_but, self._rules, self._hold_s)
            for name in gone:
                log.info("rule.gone name=%s", name)
        except ProxyError as error:
            log.warning("rule.not_released problem=%s", error)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            for rule in self._rules:
                group.create_task(self._follow(rule), name=f"rule {rule.name}")

    async def _listen(self) -> None:
        """Learn which rules somebody asks for."""
        while True:
            try:
                self._asked |= await self._ledger(self._book.take_asked)
            except ProxyError as error:
                log.warning("rule.not_asked problem=%s", error)
            await asyncio.sleep(self._look_every_s)

    async def _follow(self, rule: Rule) -> None:
        """Run one rule whenever it is due or asked for."""
        due_at = await self._due_at(rule)
        seen_at = self._clock()
        while True:
            await asyncio.sleep(self._look_every_s)
            now = self._clock()
            if lies_ahead(seen_at, now):
                # The clock was ahead, and what it said of times to come does not hold.
                due_at = await self._due_at(rule)
            seen_at = now
            is_asked = rule.name in self._asked
            if self._offline.is_on or not (is_asked or (due_at is not None and due_at <= now)):
                continue
            try:
                await self._run(rule, is_asked=is_asked)
                due_at = await self._due_at(rule)
                if due_at is not None:
                    # Whatever the book says: it may be that nothing can be written into it.
                    due_at = max(due_at, now + _LEAST_PAUSE_S)
            except RuleBusy:
                due_at = now + _LEAST_PAUSE_S
                await self._ledger(self._note, rule, due_at)
            except Exception:
                log.exception("rule.not_run name=%s", rule.name)
                self._asked.discard(rule.name)
                due_at = now + _LEAST_PAUSE_S

    async def _run(self, rule: Rule, *, is_asked: bool) -> None:
        window, now = rule.hours(), self._clock()
        if window.opens_at(now) > now and not is_asked:
            return
        await self._runner.run(rule, Watcher(), None if is_asked else window.closes_at(now))
        self._asked.discard(rule.name)

    async def _due_at(self, rule: Rule) -> float | None:
        """Return when a rule is due next, jitter and window counted in, and write it down."""
        now, jitter_s = self._clock(), self._random.uniform(0, rule.jitter_s)

        def decide() -> float | None:
            due_at = _due_at(rule, self._book.page(rule.name).last, now, jitter_s)
            self._note(rule, due_at)
            return due_at

        try:
            return await self._ledger(decide)
        except ProxyError as error:
            log.warning("rule.not_read name=%s problem=%s", rule.name, error)
            return now + _LEAST_PAUSE_S

    def _note(self, rule: Rule, due_at: float | None) -> None:
        """Write down when a rule is due, for people to see. Blocks."""
        try:
            self._book.note(rule.name, next_at=due_at)
        except ProxyError as error:
            log.warning("rule.not_written name=%s problem=%s", rule.name, error)


def _due_at(rule: Rule, last: Result | None, now: float, jitter_s: float) -> float | None:
    """Return when a rule is due, given how it ended last."""
    due_at = rule.when().due_at(None if last is None else last.started_at, now)
    if due_at is not None:
        due_at += jitter_s
    if last is not None:
        due_at = _with_rest(last, due_at, now)
    return None if due_at is None else rule.hours().opens_at(due_at)


def _with_rest(last: Result, due_at: float | None, now: float) -> float | None:
    """Return when a rule is due, given when its schedule has it due and how it ended last.

    What was stopped goes on as soon as it may; what failed is tried again before
    its time, if it has one. Names that no list has wait for their time.
    """
    if last.outcome in {"paused", "interrupted"}:
        due_at = now
    elif due_at is not None and last.outcome != "complete" and not last.lacks_only_names:
        due_at = min(due_at, last.ended_at + _RETRY_S)
    if due_at is None:
        return None
    return max(due_at, now, min(last.started_at, now) + _LEAST_PAUSE_S)

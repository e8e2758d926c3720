"""One run of one rule, from its lock to its result in the book."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from proxy.errors import ProxyError
from proxy.fills.pace import Limited, Pace
from proxy.jobs.choosing import Chosen, choose_what_there_is
from proxy.jobs.plan import Plan
from proxy.jobs.prefetch import NoSpace, pin_also, pin_only, plan_prefetch, plan_space, prefetch
from proxy.jobs.progress import Summary, Watcher
from proxy.jobs.readiness import UNPROVABLE
from proxy.jobs.rulebook import Result, RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.selection import UnknownNames
from proxy.readable import counted
from proxy.service.cache import Cache
from proxy.sources.throttle import TokenBucket

log = logging.getLogger(__name__)

_MOST_TOLD = 50


@dataclass(slots=True)
class _Run:
    """What has become of a run so far."""

    started_at: float
    plan: Plan | None = None
    summary: Summary | None = None
    added: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    versions: tuple[str, ...] | None = None
    flaws: list[str] = field(default_factory=list)
    """Why it is not complete."""
    unknown: tuple[str, ...] = ()
    """Names in the rule that nothing in the lists has."""

    def result(self, ended_at: float, outcome: str, problem: str | None = None) -> Result:
        """Return what is written down."""
        summary = self.summary or Summary()
        return Result(
            started_at=self.started_at,
            ended_at=ended_at,
            outcome=outcome,
            problem=problem,
            wanted_items=0 if self.plan is None else len(self.plan.wanted),
            wanted_bytes=0 if self.plan is None else self.plan.total_bytes,
            fetched_items=summary.fetched_items,
            fetched_bytes=summary.fetched_bytes,
            added=self.added[:_MOST_TOLD],
            dropped=self.dropped[:_MOST_TOLD],
            failures=tuple(f"{one.item.path}: {why}" for one, why in summary.failures[:_MOST_TOLD]),
            unknown=self.unknown,
        )


class RuleRunner:
    """Runs rules, each by one process at a time."""

    def __init__(
        self, cache: Cache, book: RuleBook, clock: Callable[[], float], transfers: int, hold_s: float
    ) -> None:
        self._cache = cache
        self._book = book
        self._clock = clock
        self._transfers = transfers
        self._hold_s = hold_s
        """How long items stay that a rule lets go."""

    async def run(self, rule: Rule, watcher: Watcher, closes_at: float | None = None) -> Result:
        """Fetch and keep what a rule wants, and write down what came of it.

        Stops at `closes_at` (Unix seconds); the next run goes on from there.
        What goes wrong is in the result. Raises RuleBusy, or StoreFault without a lock.
        """
        threads = self._cache.storage.threads
        lock = await threads.disk(self._book.lock, rule.name)
        try:
            run = _Run(self._clock())
            try:
                result = await self._run(rule, run, watcher, closes_at)
            except asyncio.CancelledError:
                interrupted = run.result(self._clock(), "interrupted")
                await asyncio.shield(threads.ledger(self._note, rule, run, interrupted))
                raise
            await threads.ledger(self._note, rule, run, result)
        finally:
            lock.close()
        log.info(
            "rule.ran name=%s outcome=%s items=%d bytes=%d seconds=%.1f problem=%s",
            rule.name,
            result.outcome,
            result.fetched_items,
            result.fetched_bytes,
            round(result.ended_at - result.started_at, 3),
            result.problem,
        )
        return result

    async def _run(self, rule: Rule, run: _Run, watcher: Watcher, closes_at: float | None) -> Result:
        seconds = None if closes_at is None else max(0.0, closes_at - self._clock())
        try:
            async with asyncio.timeout(seconds) as window:
                await self._fetch(rule, run, watcher)
        except UnknownNames as error:
            run.unknown = error.names
            return run.result(self._clock(), "failed", str(error))
        except ProxyError as error:
            return run.result(self._clock(), "failed", str(error))
        except Exception as error:
            if isinstance(error, TimeoutError) and window.expired():
                return run.result(self._clock(), "paused", "its window has closed")
            # One rule's trouble, whatever it is, must not become that of all.
            log.exception("rule.crashed name=%s", rule.name)
            return run.result(self._clock(), "failed", f"{type(error).__name__}: {error}")
        if problems := [*run.flaws, *run.unknown]:
            return run.result(self._clock(), "partial", "; ".join(problems))
        return run.result(self._clock(), "complete")

    async def _fetch(self, rule: Rule, run: _Run, watcher: Watcher) -> None:
        cache = self._cache
        problem = await cache.refresh_all_flavours(rule.mirror)
        if problem is not None:
            run.flaws.append(f"its lists could not be checked: {problem}")
        chosen = await choose_what_there_is(cache, [rule.mirror], rule.selection())
        run.unknown = chosen.unknown[:_MOST_TOLD]
        for name in run.unknown:
            log.warning("rule.name_unknown name=%s problem=%s lists=%s", rule.name, name, chosen.about_lists)
        run.flaws += [f"{path} {UNPROVABLE}" for _, path in chosen.unprovable][:_MOST_TOLD]
        for warning in chosen.warnings:
            log.warning("rule.surprising name=%s problem=%s", rule.name, warning)
        run.plan = plan = await plan_prefetch(cache, chosen.wanted)
        space = await plan_space(cache, plan)
        if space.missing_bytes > 0:
            raise NoSpace(space)
        # Pinned before it arrives, so that clients' items do not push it out again.
        await pin_also(cache, rule.pin, plan)
        run.summary = summary = Summary.of(plan)
        await prefetch(cache, plan, self._transfers, summary, watcher, self._pace(rule))
        if summary.failures:
            run.flaws.append(f"{counted(len(summary.failures), 'item')} failed")
        if not run.flaws:
            await pin_only(cache, rule.pin, plan, self._hold_s)
            await self._compare(rule, run, chosen)

    def _pace(self, rule: Rule) -> Pace | None:
        if rule.limit_bytes is None:
            return None
        return Limited(self._cache.background, TokenBucket(rule.limit_bytes, time.monotonic))

    async def _compare(self, rule: Rule, run: _Run, chosen: Chosen) -> None:
        """Find out what is new since the last complete run, and what is wanted no more."""
        page = await self._cache.storage.threads.ledger(self._book.page, rule.name)
        before, now = set(page.versions), set(chosen.versions)
        run.versions = chosen.versions
        run.added = tuple(sorted(now - before))
        run.dropped = tuple(sorted(before - now))

    def _note(self, rule: Rule, run: _Run, result: Result) -> None:
        changes: dict[str, Any] = {}
        if run.versions is not None:
            changes["versions"] = run.versions
        if result.outcome == "complete":
            changes["complete_at"] = result.ended_at
        with contextlib.suppress(ProxyError):  # A ledger that fails must not hide the result.
            self._book.note(rule.name, last=result, **changes)

"""One run of one rule, from its lock to its result in the book."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from proxy.errors import ProxyError
from proxy.fills.pace import Limited, Pace
from proxy.jobs.choosing import Chosen, choose_known_items
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.rulebook import Result, RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.selected_in_maas import Selected, ask_rules_maas
from proxy.jobs.selection import Selection, UnknownNames
from proxy.jobs.watching import FetchReport, Watcher, failure_text
from proxy.readable import counted
from proxy.service.cache import Cache
from proxy.sources.throttle import TokenBucket

log = logging.getLogger(__name__)

_MOST_TOLD = 50


class _End(NamedTuple):
    """How a run ended."""

    outcome: str
    problem: str | None = None
    unknown: tuple[str, ...] = ()
    """Names in the rule that nothing in the lists has, if that ended it."""


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
            started_at = self._clock()
            try:
                selected = await self._selected(rule)
            except ProxyError as error:
                nothing = Prefetch(self._cache, self._order(rule, Selected(())), watcher)
                failed = _result(nothing, _End("failed", str(error)), started_at, self._clock())
                return await threads.ledger(self._write_down, rule, nothing, failed)
            work = Prefetch(self._cache, self._order(rule, selected), watcher)
            try:
                end = await self._carry_out(rule, work, closes_at, selected)
            except asyncio.CancelledError:
                interrupted = _result(work, _End("interrupted"), started_at, self._clock())
                await asyncio.shield(threads.ledger(self._write_down, rule, work, interrupted))
                raise
            result = _result(work, end, started_at, self._clock())
            result = await threads.ledger(self._write_down, rule, work, result)
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

    async def _selected(self, rule: Rule) -> Selected:
        """Return what is selected in the rule's MAAS, if it has one, and remember it."""
        if not rule.from_maas:
            return Selected(())
        ledger = self._cache.storage.threads.ledger
        known = (await ledger(self._book.page, rule.name)).selected
        selected = await ask_rules_maas(rule, known)
        if selected.problem:
            log.warning("rule.maas_not_asked name=%s problem=%s", rule.name, selected.problem)
        elif selected.choices != known:
            await ledger(lambda: self._book.note(rule.name, selected=selected.choices))
        return selected

    def _order(self, rule: Rule, selected: Selected) -> Order:
        async def choose(cache: Cache, mirrors: Iterable[str], selection: Selection) -> Chosen:
            chosen = await choose_known_items(cache, mirrors, selection)
            _log_oddities(rule, chosen)
            return chosen

        return Order(
            mirrors=(rule.mirror,),
            selection=rule.selection(selected.choices),
            choose=choose,
            pin=rule.pin,
            hold_s=self._hold_s,
            transfers=self._transfers,
            pace=self._pace(rule),
        )

    def _pace(self, rule: Rule) -> Pace | None:
        if rule.limit_bytes_s is None:
            return None
        return Limited(self._cache.background, TokenBucket(rule.limit_bytes_s, time.monotonic))

    async def _carry_out(
        self, rule: Rule, work: Prefetch, closes_at: float | None, selected: Selected
    ) -> _End:
        seconds = None if closes_at is None else max(0.0, closes_at - self._clock())
        try:
            async with asyncio.timeout(seconds) as window:
                await work.run()
        except UnknownNames as error:
            return _End("failed", str(error), error.names)
        except ProxyError as error:
            return _End("failed", str(error))
        except Exception as error:
            if isinstance(error, TimeoutError) and window.expired():
                return _End("paused", "its window has closed")
            # One rule's trouble, whatever it is, must not become that of all.
            log.exception("rule.crashed name=%s", rule.name)
            return _End("failed", f"{type(error).__name__}: {error}")
        problems = [*([selected.problem] if selected.problem else []), *_flaws(work)]
        return _End("partial", "; ".join(problems)) if problems else _End("complete")

    def _write_down(self, rule: Rule, work: Prefetch, result: Result) -> Result:
        """Put a result into the book; return it with what is new since the last complete run. Blocks."""
        changes: dict[str, Any] = {}
        try:
            if work.is_complete and work.chosen is not None:
                changes["versions"] = versions = work.chosen.versions
                before, now = set(self._book.page(rule.name).versions), set(versions)
                result = replace(
                    result,
                    added=tuple(sorted(now - before))[:_MOST_TOLD],
                    dropped=tuple(sorted(before - now))[:_MOST_TOLD],
                )
            if result.outcome == "complete":
                changes["complete_at"] = result.ended_at
            self._book.note(rule.name, last=result, **changes)
        except ProxyError as error:
            # A ledger that fails must not hide the result.
            log.warning("rule.not_written name=%s problem=%s", rule.name, error)
        return result


def _log_oddities(rule: Rule, chosen: Chosen) -> None:
    for name in chosen.unknown[:_MOST_TOLD]:
        log.warning("rule.name_unknown name=%s problem=%s lists=%s", rule.name, name, chosen.about_lists)
    for warning in chosen.warnings:
        log.warning("rule.surprising name=%s problem=%s", rule.name, warning)


def _flaws(work: Prefetch) -> list[str]:
    """Return why a run that came to its end is not complete, names that nothing has included."""
    flaws = [f"its lists could not be checked: {problem}" for problem in work.unchecked.values()]
    if work.chosen is not None:
        flaws += [f"{one.path} {one.problem}" for one in work.chosen.unprovable][:_MOST_TOLD]
    if work.report is not None and work.report.untried:
        flaws.append(work.report.untried)
    if work.report is not None and work.report.failures:
        flaws.append(f"{counted(len(work.report.failures), 'item')} failed")
    return [*flaws, *_unknown(work)]


def _unknown(work: Prefetch) -> tuple[str, ...]:
    return () if work.chosen is None else work.chosen.unknown[:_MOST_TOLD]


def _result(work: Prefetch, end: _End, started_at: float, ended_at: float) -> Result:
    """Return what is written down."""
    report = work.report or FetchReport()
    return Result(
        started_at=started_at,
        ended_at=ended_at,
        outcome=end.outcome,
        problem=end.problem,
        wanted_items=0 if work.plan is None else len(work.plan.wanted),
        wanted_bytes=0 if work.plan is None else work.plan.total_bytes,
        fetched_items=report.fetched_items,
        fetched_bytes=report.fetched_bytes,
        failures=tuple(failure_text(one, why) for one, why in report.failures[:_MOST_TOLD]),
        unknown=end.unknown or _unknown(work),
    )

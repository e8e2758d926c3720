"""`sync`: run the configured prefetch rules now, as a timer or a person wants it."""

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click

from proxy.cli.going_on import go_on_text
from proxy.cli.options import (
    UsageFault,
    chosen_rules,
    config_option,
    load,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.cli.running import COMPLETE, FAILED, PARTIAL, run_with_cache, run_with_stored
from proxy.cli.show import FetchView, above_lines, tell
from proxy.config.advice.surroundings import oddities
from proxy.config.config import Config
from proxy.jobs.plan import Wanted
from proxy.jobs.rulebook import Page, Result, RuleBusy
from proxy.jobs.rules import Rule
from proxy.jobs.run_rule import RuleRunner
from proxy.jobs.watching import failure_text
from proxy.readable import counted, duration, size
from proxy.runtime import open_rulebook
from proxy.service.cache import Cache

_PASSED_OVER = "passed over"
_BUSY = "busy"


@click.command(short_help="Run the configured prefetch rules now.")
@config_option
@stored_data_dir_option
@click.argument("names", nargs=-1, metavar="[RULE]...")
@click.option("--list", "is_list", is_flag=True, help="Show what came of the last runs, and what is due.")
@click.option("--anytime", is_flag=True, help="Run rules whose window is closed, too.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON: lines for a run, one object for --list.")
def sync(
    config_file: Path | None,
    data_dir: Path | None,
    names: tuple[str, ...],
    is_list: bool,
    anytime: bool,
    as_json: bool,
) -> None:
    """Run the [[prefetch]] rules of the configuration now: all, or the named ones.

    \b
      sstream-proxy sync --list
      sstream-proxy sync lab --anytime

    A running server does this by itself, by each rule's schedule. This is for
    a timer without a server, or for a person who does not want to wait. A rule
    that is running already is left alone, and one whose window is closed is
    passed over.

    Exit codes: 0 all complete or left alone, 1 all failed, 2 wrong usage, 3
    some not complete, 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    rules = chosen_rules(config, names)
    if not rules:
        raise UsageFault("no [[prefetch]] rule is configured; config.example.toml shows how to write one")
    for problem in oddities(os.environ, config.upstream.parent_proxy):
        click.echo(f"warning: {problem}", err=True)
    work = _Sync(config, rules, is_anytime=anytime, as_json=as_json)
    if is_list:
        raise SystemExit(run_with_stored(config, work.show))
    tell_if_new(data_dir)
    raise SystemExit(run_with_cache(config, work.run, if_interrupted=go_on_text()))


class _Sync:
    """One run of the command."""

    def __init__(self, config: Config, rules: Sequence[Rule], *, is_anytime: bool, as_json: bool) -> None:
        self._config = config
        self._rules = rules
        self._is_anytime = is_anytime
        self._as_json = as_json

    async def show(self, cache: Cache) -> int:
        """Show what is known of the rules; return the exit code."""
        book = await open_rulebook(self._config, cache)
        pages = await cache.storage.threads.ledger(
            lambda: [(rule, book.page(rule.name), book.is_running(rule.name)) for rule in self._rules]
        )
        if self._as_json:
            known = {
                rule.name: {"selection": str(rule.selection()), "is_running": running, **_as_json(page)}
                for rule, page, running in pages
            }
            click.echo(json.dumps(known, indent=2))
        else:
            for rule, page, running in pages:
                click.echo("\n".join(_page_lines(rule, page, is_running=running)))
        return COMPLETE

    async def run(self, cache: Cache) -> int:
        """Run the rules one after another; return the exit code."""
        book = await open_rulebook(self._config, cache)
        runner = RuleRunner(
            cache,
            book,
            time.time,
            self._config.upstream.background_transfers,
            self._config.freshness.retain_s,
        )
        outcomes = [await self._run_one(rule, runner) for rule in self._rules]
        if set(outcomes) <= {"complete", _PASSED_OVER, _BUSY}:
            return COMPLETE
        return FAILED if all(outcome == "failed" for outcome in outcomes) else PARTIAL

    async def _run_one(self, rule: Rule, runner: RuleRunner) -> str:
        window, now = rule.hours(), time.time()
        opens_at = window.opens_at(now)
        if opens_at > now and not self._is_anytime:
            self._tell(rule, _PASSED_OVER, f"its window opens at {_moment(opens_at)}; --anytime runs it now")
            return _PASSED_OVER
        view = FetchView(as_json=self._as_json)
        try:
            result = await runner.run(rule, view, None if self._is_anytime else window.closes_at(now))
        except RuleBusy as busy:
            self._tell(rule, _BUSY, str(busy))
            return _BUSY
        finally:
            view.close()
        if self._as_json:
            tell({"event": "rule", "rule": rule.name, **asdict(result)})
        else:
            click.echo("\n".join([f"{rule.name}: {_headline(result)}", *_detail_lines(result, view.told)]))
        return result.outcome

    def _tell(self, rule: Rule, outcome: str, why: str) -> None:
        if self._as_json:
            tell({"event": "rule", "rule": rule.name, "outcome": outcome, "problem": why})
        else:
            click.echo(f"{rule.name}: {outcome}: {why}", err=True)


def _as_json(page: Page) -> dict[str, object]:
    return {"last": None if page.last is None else asdict(page.last), "next_at": page.next_at}


def _page_lines(rule: Rule, page: Page, *, is_running: bool) -> list[str]:
    lines = [f"{rule.name}: {rule.mirror}: {rule.selection()}"]
    if is_running:
        lines.append("  running now")
    if page.last is None:
        lines.append("  has never run")
    else:
        lines.append(f"  last  {_moment(page.last.started_at)}: {_headline(page.last)}")
        lines += _detail_lines(page.last, {})
    if page.next_at is not None:
        lines.append(f"  next  {_moment(page.next_at)} ({rule.schedule}), if the server runs then")
    else:
        lines.append(f"  next  {rule.schedule or 'by sync only'}")
    return lines


def _headline(result: Result) -> str:
    why = f" ({result.problem})" if result.problem else ""
    items = counted(result.fetched_items, "item")
    return (
        f"{result.outcome}{why}, fetched {size(result.fetched_bytes)} in {items} "
        f"of {result.wanted_items}, {duration(result.ended_at - result.started_at)}"
    )


def _detail_lines(result: Result, told: Mapping[Wanted, str]) -> list[str]:
    """Return what came of a run, line by line; `told` are failures that stand above already."""
    above = {failure_text(one, problem) for one, problem in told.items()}
    return [
        *(f"  + {one}" for one in result.added),
        *(f"  - {one}" for one in result.dropped),
        *(f"  FAILED {one}" for one in result.failures if one not in above),
        *(f"  {one}" for one in above_lines(told)),
    ]


def _moment(when: float) -> str:
    return datetime.fromtimestamp(when).astimezone().strftime("%Y-%m-%d %H:%M")

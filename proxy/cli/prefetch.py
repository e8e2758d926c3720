"""`prefetch`: fetch what a selection wants, before anybody asks for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

import click

from proxy.cli.options import (
    Asked,
    config_option,
    data_dir_option,
    load,
    selection_options,
)
from proxy.cli.running import COMPLETE, PARTIAL, run_with_cache
from proxy.cli.show import make_view, plan_event, plan_lines, summary_event, summary_lines, tell
from proxy.config.config import Config
from proxy.jobs.choosing import choose
from proxy.jobs.plan import Plan
from proxy.jobs.prefetch import (
    NoSpace,
    estimate_s,
    pin_also,
    pin_only,
    plan_prefetch,
    plan_space,
    unpin_if_nothing_came,
)
from proxy.jobs.prefetch import prefetch as run_prefetch
from proxy.jobs.progress import Summary
from proxy.jobs.readiness import UNPROVABLE
from proxy.jobs.selection import Selection
from proxy.service.cache import Cache


@click.command(short_help="Fetch a selection before anybody asks for it.")
@config_option
@data_dir_option
@selection_options
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Items at a time. [upstream.background_transfers]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: plan, items, summary.")
def prefetch(
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Fetch and verify everything that the FILTERs select, and keep it.

    Filters are those of sstream-mirror, so its command lines can be pasted: KEY=VALUE,
    KEY!=VALUE, KEY~REGEX, KEY!~REGEX. An item must pass them all; `query --json` shows its keys.

    \b
      sstream-proxy prefetch 'arch=amd64' 'release~(noble|jammy)' --max=1
      sstream-proxy prefetch --maas noble,jammy --arch amd64
      sstream-proxy prefetch --dry-run 'os~(grub*|pxelinux)'

    It works beside a running server on the same data directory, and without
    one. Nothing that another prefetch brought is removed. An interrupted run
    goes on where it stopped.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 not complete: items
    failed, or the lists could not be checked; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    selection, names = asked.selection(), asked.of_mirrors(config)
    job = _Job(config, names, selection, jobs or config.upstream.background_transfers, as_json=as_json)
    raise SystemExit(run_with_cache(config, job.show_plan if dry_run else job.run))


class _Job:
    """One run of the command."""

    def __init__(
        self, config: Config, mirrors: list[str], selection: Selection, transfers: int, *, as_json: bool
    ) -> None:
        self._hold_s = config.freshness.retain_s
        self._mirrors = mirrors
        self._selection = selection
        self._transfers = transfers
        self._as_json = as_json
        self._flaws: list[str] = []
        """What keeps the run from being complete although nothing failed to arrive."""
        self._pin = f"prefetch {' '.join(mirrors)}: {selection}"

    async def show_plan(self, cache: Cache) -> int:
        """Show what a run would do; return the exit code."""
        await self._refresh(cache.refresh)
        await self._plan(cache)
        return COMPLETE

    async def run(self, cache: Cache) -> int:
        """Plan, fetch and keep; return the exit code."""
        await self._refresh(cache.refresh_all_flavours)
        plan = await self._plan(cache)
        # Pinned before it arrives, so that clients' items do not push it out again.
        await pin_also(cache, self._pin, plan)
        try:
            summary = await self._fetch(cache, plan)
        except BaseException:
            await asyncio.shield(unpin_if_nothing_came(cache, self._pin))
            raise
        if not summary.is_complete or self._flaws:
            await unpin_if_nothing_came(cache, self._pin)
            return PARTIAL
        await pin_only(cache, self._pin, plan, self._hold_s)
        return COMPLETE

    async def _refresh(self, refresh: Callable[[str], Awaitable[str | None]]) -> None:
        """Check the mirrors; what cannot be checked is used as it was."""
        for mirror, problem in zip(
            self._mirrors, await asyncio.gather(*map(refresh, self._mirrors)), strict=True
        ):
            if problem is not None:
                self._flaws.append(f"mirror {mirror}: its lists could not be checked: {problem}")

    async def _plan(self, cache: Cache) -> Plan:
        """Show the plan. Raises NoSpace when it does not fit."""
        _warn(self._flaws)
        chosen = await choose(cache, self._mirrors, self._selection)
        unprovable = [f"{mirror} {path} {UNPROVABLE}" for mirror, path in chosen.unprovable]
        _warn([*chosen.warnings, *unprovable])
        self._flaws += unprovable
        plan = await plan_prefetch(cache, chosen.wanted)
        space = await plan_space(cache, plan)
        seconds = await estimate_s(cache, plan)
        if self._as_json:
            tell(plan_event(plan, space, seconds))
        else:
            click.echo(f"from {', '.join(self._mirrors)}: {self._selection}")
            click.echo("\n".join(plan_lines(plan, space, seconds)))
        if space.missing_bytes > 0:
            raise NoSpace(space)
        return plan

    async def _fetch(self, cache: Cache, plan: Plan) -> Summary:
        began = time.monotonic()
        summary = Summary.of(plan)
        view = make_view(as_json=self._as_json)
        try:
            await run_prefetch(cache, plan, self._transfers, summary, view)
        finally:
            view.close()
            seconds = time.monotonic() - began
            if self._as_json:
                tell(summary_event(summary, seconds))
            else:
                click.echo("\n".join(summary_lines(summary, seconds)))
        return summary


def _warn(problems: Iterable[str]) -> None:
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)

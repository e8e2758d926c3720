"""`prefetch`: fetch what a selection wants, before anybody asks for it."""

import asyncio
import time
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
from proxy.cli.show import View, make_view, plan_event, plan_lines, summary_event, summary_lines, tell
from proxy.config.config import Config
from proxy.jobs.choosing import Chosen, choose_items
from proxy.jobs.pins import unpin_if_nothing_came
from proxy.jobs.plan import Forecast, Plan, Wanted
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.readiness import UNPROVABLE
from proxy.jobs.requested import pin_of
from proxy.jobs.selection import Selection
from proxy.jobs.watching import FetchReport, Watcher
from proxy.readable import printable
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
    order = _order(config, names, selection, jobs or config.upstream.background_transfers)

    async def work(cache: Cache) -> int:
        run = Prefetch(cache, order, shown := _Shown(order, as_json=as_json))
        if dry_run:
            await run.rehearse()
            return COMPLETE
        try:
            await run.run()
        finally:
            if run.report is not None:
                shown.summary(run.report)
                if not run.is_complete:
                    await asyncio.shield(unpin_if_nothing_came(cache, order.pin))
        return COMPLETE if run.is_complete else PARTIAL

    raise SystemExit(run_with_cache(config, work))


def _order(config: Config, mirrors: list[str], selection: Selection, transfers: int) -> Order:
    return Order(
        mirrors=tuple(mirrors),
        selection=selection,
        choose=choose_items,
        pin=pin_of(tuple(mirrors), selection),
        hold_s=config.freshness.retain_s,
        transfers=transfers,
    )


class _Shown(Watcher):
    """A prefetch as whoever typed the command sees it."""

    def __init__(self, order: Order, *, as_json: bool) -> None:
        self._order = order
        self._as_json = as_json
        self._began: float | None = None
        self._view: View | None = None

    def unchecked(self, mirror: str, problem: str) -> None:
        """Warn."""
        _warn(f"mirror {mirror}: its lists could not be checked: {problem}")

    def chosen(self, chosen: Chosen) -> None:
        """Warn of what is surprising, and of what cannot be had."""
        for problem in chosen.warnings:
            _warn(problem)
        for mirror, path in chosen.unprovable:
            _warn(f"{mirror} {path} {UNPROVABLE}")

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Show the plan."""
        if self._as_json:
            tell(plan_event(plan, forecast))
        else:
            click.echo(f"from {', '.join(self._order.mirrors)}: {self._order.selection}")
            click.echo("\n".join(plan_lines(plan, forecast)))

    def begun(self, plan: Plan) -> None:
        """Show progress from now on."""
        self._began = time.monotonic()
        self._view = make_view(as_json=self._as_json)
        self._view.begun(plan)

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show how far an item is."""
        if self._view is not None:
            self._view.moved(wanted, filled_bytes)

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Show what has become of an item."""
        if self._view is not None:
            self._view.ended(wanted, problem)

    def summary(self, report: FetchReport) -> None:
        """Show what the transfers came to, in the progress's stead."""
        if self._view is not None:
            self._view.close()
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        if self._as_json:
            tell(summary_event(report, seconds))
        else:
            click.echo("\n".join(summary_lines(report, seconds)))
        if report.untried is not None:
            _warn(report.untried)


def _warn(problem: str) -> None:
    click.echo(f"warning: {printable(problem)}", err=True)

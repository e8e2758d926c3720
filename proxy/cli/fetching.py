"""Fetching a selection by command: the order, the run, and what whoever typed it sees."""

import asyncio
import time

import click

from proxy.cli.running import COMPLETE, PARTIAL
from proxy.cli.show import FetchView, plan_event, plan_lines, summary_event, summary_lines, tell
from proxy.config.config import Config
from proxy.jobs.choosing import Chosen, choose_items
from proxy.jobs.pins import unpin_if_nothing_came
from proxy.jobs.plan import Forecast, Plan, Wanted
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.requested import pin_of
from proxy.jobs.selection import Selection
from proxy.jobs.watching import FetchReport, Watcher
from proxy.readable import printable
from proxy.service.cache import Cache


def order_of(config: Config, mirrors: list[str], selection: Selection, transfers: int) -> Order:
    """Return the order to fetch a selection from mirrors, and to keep it."""
    return Order(
        mirrors=tuple(mirrors),
        selection=selection,
        choose=choose_items,
        pin=pin_of(tuple(mirrors), selection),
        hold_s=config.freshness.retain_s,
        transfers=transfers,
    )


async def carried_out(cache: Cache, order: Order, shown: "Shown") -> int:
    """Carry an order out; return the exit code."""
    run = Prefetch(cache, order, shown)
    try:
        await run.run()
    finally:
        if run.report is not None:
            shown.summary(run.report)
            if not run.is_complete:
                await asyncio.shield(unpin_if_nothing_came(cache, order.pin))
    return COMPLETE if run.is_complete else PARTIAL


class Shown(Watcher):
    """A prefetch as whoever typed the command sees it."""

    def __init__(self, order: Order, *, as_json: bool) -> None:
        self._order = order
        self.as_json = as_json
        self._began: float | None = None
        self.view: FetchView | None = None
        """Once transfers have begun."""

    def unchecked(self, mirror: str, problem: str) -> None:
        """Warn."""
        _warn(f"mirror {mirror}: its lists could not be checked: {problem}")

    def chosen(self, chosen: Chosen) -> None:
        """Warn of what is surprising, and of what cannot be had."""
        for problem in chosen.warnings:
            _warn(problem)
        for one in chosen.unprovable:
            _warn(f"{one.mirror} {one.path} {one.problem}")

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Show the plan."""
        if self.as_json:
            tell(plan_event(plan, forecast))
        else:
            click.echo(self._order.about or f"from {', '.join(self._order.mirrors)}: {self._order.selection}")
            click.echo("\n".join(plan_lines(plan, forecast)))

    def begun(self, plan: Plan) -> None:
        """Show progress from now on."""
        self._began = time.monotonic()
        self.view = FetchView(as_json=self.as_json)
        self.view.begun(plan)

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show how far an item is."""
        if self.view is not None:
            self.view.moved(wanted, filled_bytes)

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Show what has become of an item."""
        if self.view is not None:
            self.view.ended(wanted, problem)

    def summary(self, report: FetchReport) -> None:
        """Show what the transfers came to, in the progress's stead."""
        if self.view is not None:
            self.view.close()
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        if self.as_json:
            tell(summary_event(report, seconds))
        else:
            told = {} if self.view is None else self.view.told
            click.echo("\n".join(summary_lines(report, seconds, told)))
        if report.untried is not None:
            _warn(report.untried)


def _warn(problem: str) -> None:
    click.echo(f"warning: {printable(problem)}", err=True)

"""Showing a plan of what is to be fetched, its progress, and what came of it: in words or as JSON lines."""

import json
from collections.abc import Mapping
from typing import Any

import click

from proxy.cli.entry import outputs_meet
from proxy.cli.progress import make_progress
from proxy.cli.progress_text import failure_line
from proxy.jobs.plan import Forecast, Plan, Wanted
from proxy.jobs.watching import FetchReport, Watcher
from proxy.readable import counted, duration, size


def plan_lines(plan: Plan, forecast: Forecast) -> list[str]:
    """Return a plan in words."""
    missing = counted(len(plan.missing), "item")
    lines = [
        f"{counted(plan.paths, 'item')} wanted, {len(plan.wanted)} different: {size(plan.total_bytes)}",
        f"  here already    {size(plan.held_bytes)}",
        f"  to be fetched   {size(plan.fetch_bytes)} in {missing}{_estimate(forecast.seconds)}",
        f"  free on disk    {size(forecast.free_bytes)}",
    ]
    if plan.shared_bytes:
        lines.insert(1, f"  shared content  {size(plan.shared_bytes)} need not be fetched twice")
    if forecast.evicted:
        lines.append(
            f"  to be evicted   {size(forecast.evicted_bytes)} in {counted(len(forecast.evicted), 'blob')}"
        )
    return lines


def _estimate(seconds: float | None) -> str:
    if seconds is None:
        return ", time unknown until something was fetched"
    return f", about {duration(seconds)} at the rate of last time" if seconds else ""


def plan_event(plan: Plan, forecast: Forecast) -> dict[str, Any]:
    """Return a plan as JSON values."""
    return {
        "event": "plan",
        "paths": plan.paths,
        "items": len(plan.wanted),
        "missing_items": len(plan.missing),
        "total_bytes": plan.total_bytes,
        "held_bytes": plan.held_bytes,
        "shared_bytes": plan.shared_bytes,
        "fetch_bytes": plan.fetch_bytes,
        "free_bytes": forecast.free_bytes,
        "evicted_bytes": forecast.evicted_bytes,
        "lacking_bytes": forecast.missing_bytes,
        "estimated_s": None if forecast.seconds is None else round(forecast.seconds, 1),
    }


def summary_event(report: FetchReport, seconds: float) -> dict[str, Any]:
    """Return what a prefetch came to, as JSON values."""
    return {
        "event": "summary",
        "fetched_bytes": report.fetched_bytes,
        "fetched_items": report.fetched_items,
        "reused_bytes": report.reused_bytes,
        "shared_bytes": report.shared_bytes,
        "seconds": round(seconds, 3),
        "problem": report.untried,
        "failures": [
            {"mirror": one.mirror, "path": one.item.path, "problem": problem}
            for one, problem in report.failures
        ],
    }


def summary_lines(report: FetchReport, seconds: float, told: Mapping[Wanted, str]) -> list[str]:
    """Return what a prefetch came to, in words; `told` are failures that stand above them already."""
    items = counted(report.fetched_items, "item")
    rate = size(report.fetched_bytes / max(seconds, 0.001))
    fetched = (
        f"fetched {size(report.fetched_bytes)} in {items}, {seconds:.1f} s, {rate}/s; "
        f"reused {size(report.reused_bytes)}, saved {size(report.shared_bytes)} by sharing"
    )
    untold = [(one, problem) for one, problem in report.failures if one not in told]
    return [
        fetched,
        *(failure_line(one.mirror, one.item.path, problem) for one, problem in untold),
        *above_lines(told),
    ]


def above_lines(told: Mapping[Wanted, str]) -> list[str]:
    """Return what to say of failures that stand above already."""
    return [f"{counted(len(told), 'item')} FAILED: see above"] if told else []


class FetchView(Watcher):
    """A watcher of transfers that shows what it sees, until it is closed."""

    def __init__(self, *, as_json: bool) -> None:
        self._progress = make_progress("fetching", as_json=as_json)
        self._is_in_sight = not as_json and outputs_meet()
        self.told: dict[Wanted, str] = {}
        """The failures that whoever reads standard output has been told of, and why."""
        self._filled: dict[Wanted, int] = {}
        """How much of an item is here, of those under way."""

    def begun(self, plan: Plan) -> None:
        """Show what is missing."""
        self._progress.begun(len(plan.missing), plan.fetch_bytes)

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show what has come since the last time; what was here at the first is nothing that came."""
        self._progress.moved(wanted.item.path, filled_bytes - self._filled.get(wanted, filled_bytes))
        self._filled[wanted] = filled_bytes

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Show what has become of an item."""
        if problem is not None and self._is_in_sight:
            self.told[wanted] = problem
        item, filled_bytes = wanted.item, self._filled.pop(wanted, 0)
        missing_bytes = 0 if problem is None else item.size_bytes - filled_bytes
        self._progress.ended(item.path, problem, mirror=wanted.mirror, missing_bytes=missing_bytes)

    def not_there(self, wanted: Wanted) -> None:
        """Show that an item will not come, which is told of later and with others."""
        item = wanted.item
        missing_bytes = item.size_bytes - self._filled.pop(wanted, 0)
        self._progress.ended(item.path, mirror=wanted.mirror, missing_bytes=missing_bytes)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.close()


def tell(event: dict[str, Any], *, err: bool = False) -> None:
    """Write one JSON line."""
    click.echo(json.dumps(event), err=err)

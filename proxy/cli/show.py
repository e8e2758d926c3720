"""Showing a plan and its progress: bars on a terminal, plain lines elsewhere, or JSON lines."""

import json
import sys
import time
from typing import Any

import click

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


def summary_lines(report: FetchReport, seconds: float) -> list[str]:
    """Return what a prefetch came to, in words."""
    items = counted(report.fetched_items, "item")
    rate = size(report.fetched_bytes / max(seconds, 0.001))
    fetched = (
        f"fetched {size(report.fetched_bytes)} in {items}, {seconds:.1f} s, {rate}/s; "
        f"reused {size(report.reused_bytes)}, saved {size(report.shared_bytes)} by sharing"
    )
    lines = [fetched]
    for wanted, problem in report.failures:
        lines.append(f"FAILED {wanted.mirror} {wanted.item.path}: {problem}")
    return lines


class View(Watcher):
    """A watcher that shows what it sees, and may hold the terminal until it is closed."""

    def close(self) -> None:
        """Leave the terminal as it was."""


class Lines(View):
    """A plain line for each finished item."""

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Write one line."""
        state = "ok" if problem is None else f"FAILED ({problem})"
        click.echo(f"{state:6} {size(wanted.item.size_bytes):>10}  {wanted.item.path}", err=True)


class JsonLines(View):
    """One JSON object a line on standard output."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Tell of an item once a second at most."""
        now = time.monotonic()
        if now - self._told_at.get(wanted.item.path, 0.0) >= 1.0:
            self._told_at[wanted.item.path] = now
            tell({"event": "progress", "path": wanted.item.path, "filled_bytes": filled_bytes})

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Tell of a finished item."""
        tell({"event": "item", "mirror": wanted.mirror, "path": wanted.item.path, "problem": problem})


def tell(event: dict[str, Any]) -> None:
    """Write one JSON line."""
    click.echo(json.dumps(event))


def make_view(*, as_json: bool) -> View:
    """Return the way to show progress that fits where the output goes."""
    if as_json:
        return JsonLines()
    if not sys.stderr.isatty():
        return Lines()
    # Late: rich takes longer to import than a run with nothing to do.
    from proxy.cli.bars import Bars  # noqa: PLC0415

    return Bars()

"""Showing a plan and its progress: bars on a terminal, plain lines elsewhere, or JSON lines."""

import json
import sys
import time
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from proxy.jobs.plan import Plan, Space, Wanted
from proxy.jobs.progress import Summary, Watcher

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_STEP = 1024
_LONGEST_NAME = 44


def size(count: float) -> str:
    """Return bytes as a person reads them."""
    for unit in _UNITS[:-1]:
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} {_UNITS[-1]}"


def plan_lines(plan: Plan, space: Space) -> list[str]:
    """Return a plan in words."""
    lines = [
        f"{plan.paths} items wanted, {len(plan.wanted)} different: {size(plan.total_bytes)}",
        f"  here already    {size(plan.held_bytes)}",
        f"  to be fetched   {size(plan.fetch_bytes)} in {len(plan.missing)} items",
        f"  free on disk    {size(space.free_bytes)}",
    ]
    if plan.shared_bytes:
        lines.insert(1, f"  shared content  {size(plan.shared_bytes)} need not be fetched twice")
    if space.evicted:
        lines.append(f"  to be evicted   {size(space.evicted_bytes)} in {len(space.evicted)} blobs")
    return lines


def plan_event(plan: Plan, space: Space) -> dict[str, Any]:
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
        "free_bytes": space.free_bytes,
        "evicted_bytes": space.evicted_bytes,
        "lacking_bytes": space.missing_bytes,
    }


def summary_lines(summary: Summary, seconds: float) -> list[str]:
    """Return what a prefetch came to, in words."""
    rate = size(summary.fetched_bytes / max(seconds, 0.001))
    fetched = (
        f"fetched {size(summary.fetched_bytes)} in {summary.fetched_items} items, {seconds:.1f} s, {rate}/s; "
        f"reused {size(summary.reused_bytes)}, saved {size(summary.shared_bytes)} by sharing"
    )
    lines = [fetched]
    for wanted, problem in summary.failures:
        lines.append(f"FAILED {wanted.mirror} {wanted.item.path}: {problem}")
    return lines


class Bars:
    """Live bars on a terminal: one for everything, one for each running item."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, int] = {}

    def planned(self, plan: Plan) -> None:
        """Draw the first bar."""
        self._progress.start()
        self._all = self._progress.add_task("all items", total=plan.total_bytes, completed=plan.held_bytes)

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Move the item's bar, and the one for everything."""
        path = wanted.item.path
        if path not in self._tasks:
            self._tasks[path] = self._progress.add_task(path[-_LONGEST_NAME:], total=wanted.item.size_bytes)
            self._seen[path] = filled_bytes
        self._progress.update(self._tasks[path], completed=filled_bytes)
        if self._all is not None:
            self._progress.advance(self._all, max(0, filled_bytes - self._seen[path]))
        self._seen[path] = filled_bytes

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Take the item's bar away."""
        task = self._tasks.pop(wanted.item.path, None)
        if task is not None:
            self._progress.remove_task(task)
        if problem is not None:
            self._progress.console.print(f"FAILED {wanted.item.path}: {problem}", markup=False)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()


class Lines:
    """A plain line for each finished item."""

    def planned(self, plan: Plan) -> None:
        """Show nothing more than the plan itself."""

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show nothing until an item has ended."""

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Write one line."""
        state = "ok" if problem is None else f"FAILED ({problem})"
        click.echo(f"{state:6} {size(wanted.item.size_bytes):>10}  {wanted.item.path}", err=True)

    def close(self) -> None:
        """Nothing is held."""


class JsonLines:
    """One JSON object a line on standard output."""

    def __init__(self) -> None:
        self._told_at: dict[str, float] = {}

    def planned(self, plan: Plan) -> None:
        """Show nothing more than the plan itself."""

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Tell of an item once a second at most."""
        now = time.monotonic()
        if now - self._told_at.get(wanted.item.path, 0.0) >= 1.0:
            self._told_at[wanted.item.path] = now
            tell({"event": "progress", "path": wanted.item.path, "filled_bytes": filled_bytes})

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Tell of a finished item."""
        tell({"event": "item", "mirror": wanted.mirror, "path": wanted.item.path, "problem": problem})

    def close(self) -> None:
        """Nothing is held."""


def tell(event: dict[str, Any]) -> None:
    """Write one JSON line."""
    click.echo(json.dumps(event))


def make_watcher(*, as_json: bool) -> "Bars | Lines | JsonLines":
    """Return the way to show progress that fits where the output goes."""
    if as_json:
        return JsonLines()
    return Bars() if sys.stderr.isatty() else Lines()


__all__ = ["Watcher", "make_watcher", "plan_event", "plan_lines", "size", "summary_lines", "tell"]

"""Progress as live bars on a terminal."""

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from proxy.cli.console import PlainConsole
from proxy.cli.show import View
from proxy.jobs.plan import Plan, Wanted
from proxy.readable import size

_LONGEST_NAME = 44


class _Speed(ProgressColumn):
    """Bytes a second, in the units of all other sizes."""

    def render(self, task: Task) -> Text:
        """Return what is shown of a bar."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{size(speed)}/s", style="progress.data.speed")


class Bars(View):
    """One bar for everything, one for each running item."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            _Speed(),
            TimeRemainingColumn(),
            console=PlainConsole(stderr=True),
        )
        self._all: TaskID | None = None
        self._tasks: dict[str, TaskID] = {}
        self._seen: dict[str, int] = {}

    def begun(self, plan: Plan) -> None:
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
            self._progress.console.print(f"FAILED {wanted.item.path}: {problem}")

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()

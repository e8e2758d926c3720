"""Handing out changes to workers, each with the tests that are most likely to notice."""

import multiprocessing
import re
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from mutation.changes import Change
from mutation.reach import Reach
from mutation.trees import copied
from mutation.trial import Outcome, Task, work

_OVERHEAD_S = 0.02
_FORK_S = 0.5
"""What a trial costs anyway."""


class Order:
    """In which order tests are tried on a change: those first that have noticed others near it."""

    def __init__(self, reach: Reach, files: Collection[str], budget_s: float) -> None:
        self._reach = reach
        self._files = files
        self._budget_s = budget_s
        self._noticed: Counter[tuple[str, str]] = Counter()

    def note(self, change: Change, outcome: Outcome) -> None:
        """Learn from what came of a change."""
        if outcome.by:
            self._noticed[change.module, outcome.by] += 1
            self._noticed[f"{change.module}::{change.function}", outcome.by] += 3

    def tests_for(self, change: Change) -> dict[str, float]:
        """Return the tests that reach a change with their seconds, as many as the budget allows.

        First those that have noticed others near it, then those that are near by folder and name, then
        the quickest of each file of tests, and so on: what one file does not ask, another may.
        """
        module, function = change.module, f"{change.module}::{change.function}"
        words = set(_words(module.removeprefix("proxy/").removesuffix(".py")))
        folder = Path("tests/unit", Path(module).parent.relative_to("proxy"))
        beside = {folder, folder.parent} - {Path("tests"), Path("tests/unit")}
        seconds = self._reach.seconds
        turns: Counter[str] = Counter()

        def rank(test: str) -> tuple[float, int, int, float]:
            file = test.partition("::")[0]
            noticed = self._noticed[function, test] + self._noticed[module, test]
            is_named_alike = bool(words & set(_words(Path(file).stem)))
            is_beside = Path(file).parent in beside
            turns[file] += 1
            nearness = is_named_alike + is_beside
            return -noticed / (_FORK_S + seconds[test]), -nearness, turns[file], seconds[test]

        reached_by = self._reach.tests_of(module, change.function)
        if not change.function:
            # Whoever imports the module reaches that, which no function tells.
            reached_by |= {test for test in seconds if Path(test.partition("::")[0]).parent in beside}
        reaching = filter(self._is_allowed, reached_by)
        chosen: dict[str, float] = {}
        spent_s = 0.0
        for test in sorted(sorted(reaching, key=lambda test: seconds[test]), key=rank):
            costs_s = seconds[test] + _OVERHEAD_S
            if spent_s + costs_s <= self._budget_s:
                spent_s += costs_s
                chosen[test] = seconds[test]
        return chosen

    def _is_allowed(self, test: str) -> bool:
        return test.partition("::")[0] in self._files


def _words(path: str) -> list[str]:
    """Return the words of a path, of which test files are named for some."""
    return re.split(r"[/_]", path.removesuffix(".py"))


class Crew:
    """Workers with a copy of the tree each, for the length of the context."""

    def __init__(self, jobs: int, probe: str) -> None:
        """`probe` is a test that succeeds without any change."""
        self._probe = probe
        self._trees = [copied() for _ in range(jobs)]
        self._workers: list[tuple[BaseProcess, Connection]] = []

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for tree in self._trees:
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, tree, self._probe))
            process.start()
            theirs.close()
            self._workers.append((process, ours))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process, connection in self._workers:
            connection.close()
            process.join(timeout=30)
            process.kill()
        for tree in self._trees:
            shutil.rmtree(tree, ignore_errors=True)

    def try_all(
        self, changes: Sequence[Change], order: Order, most_s: float
    ) -> Iterator[tuple[Change, Outcome]]:
        """Yield what comes of each change; begin no trial after `most_s`."""
        stops_at = time.monotonic() + most_s
        left = iter(changes)
        idle = [connection for _, connection in self._workers]
        busy: dict[Connection, Change] = {}
        while True:
            while idle and time.monotonic() < stops_at and (change := next(left, None)) is not None:
                worker = idle.pop()
                worker.send(Task(change=change, tests=order.tests_for(change)))
                busy[worker] = change
            if not busy:
                return
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                change, outcome = busy.pop(ready), ready.recv()
                order.note(change, outcome)
                idle.append(ready)
                yield change, outcome

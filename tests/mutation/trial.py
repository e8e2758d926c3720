"""Trying a change: the tests that reach it run in a copy of the tree, in a process of their own.

A worker imports once what the tests need of other people's libraries, and forks for each trial.
What fails beside real servers is tried a second time: only what fails twice is caught.
"""

import ast
import contextlib
import importlib
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from mutation.changes import Change
from mutation.trees import FOLDERS

_FIRST_TESTS = (4, 24)
"""So many are tried before the files of all others are loaded, and then so many."""
_START_S = 60.0
_LEAST_S = 20.0
_PATIENCE = 10.0
"""A test hangs when it takes that many times as long as it did, and the least time."""
_MEMORY_BYTES = 4 * 1024**3
_FILE_BYTES = 1024**3
_SURE = ("tests/unit/", "tests/property/")
"""Where a test has no reason to fail by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A change, and the tests to try it with, in their order, each with the seconds that it takes."""

    change: Change
    tests: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a change."""

    verdict: str
    """caught, hung, crashed, unloadable: noticed. survived, or untried: not."""
    by: str = ""
    """The test that noticed."""
    seconds: float = 0.0

    @property
    def is_caught(self) -> bool:
        """Whether the tests noticed."""
        return self.verdict not in {"survived", "untried"}


def work(connection: Connection, tree: Path, probe: str) -> None:
    """Try what comes over the connection, in a copy of the tree, until it is closed.

    `probe` is a test that succeeds in a tree that is as it should be.
    """
    bench = Workbench(tree)
    try:
        if (found := bench.run_unchanged(probe)).verdict != "survived":
            raise RuntimeError(f"{probe} without any change: {found.verdict}; see {tree / 'last.log'}")
        with contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt):
            while True:
                task: Task = connection.recv()
                connection.send(bench.try_out(task))
    finally:
        bench.close()


class Workbench:
    """A copy of the tree in which one change at a time is made and undone."""

    def __init__(self, tree: Path) -> None:
        self._tree = tree
        self._scratch = Path(tempfile.mkdtemp(prefix="mu-"))
        self._trials = 0
        self._sound: dict[str, bool] = {}
        """Whether each test that has noticed a change succeeds without any."""
        os.chdir(tree)
        folders = [str(tree), *(str(tree / name) for name in FOLDERS)]
        sys.path[:0] = folders
        os.environ["PYTHONPATH"] = os.pathsep.join(folders)
        os.environ["TMPDIR"] = str(self._scratch)
        tempfile.tempdir = None
        _import_libraries(tree)
        self._collect()
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        sys.dont_write_bytecode = True

    def close(self) -> None:
        """Remove what trials have left."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _collect(self) -> None:
        """Have the bytecode of everything written once."""
        pid = os.fork()
        if pid == 0:
            _redirect(self._tree / "collected.log")
            os._exit(int(pytest.main([*_options(self._scratch / "t"), "--collect-only"])))
        os.waitpid(pid, 0)

    def run_unchanged(self, test: str) -> Outcome:
        """Run a test in the tree as it is."""
        return self._run({test: 60.0})

    def try_out(self, task: Task) -> Outcome:
        """Make a change, run tests until one fails, and undo it.

        What fails without the change too says nothing of it: it is left out, and the others tried again.
        """
        begun = time.monotonic()
        tests = dict(task.tests)
        outcome = self._try_with(task.change, tests)
        while outcome.is_caught and outcome.by in tests and not self._succeeds(outcome.by, tests):
            del tests[outcome.by]
            outcome = self._try_with(task.change, tests)
        if outcome.verdict == "unloadable" and self._run(tests).verdict != "survived":
            outcome = Outcome(verdict="untried", by="without any change the tests do not succeed either")
        return Outcome(verdict=outcome.verdict, by=outcome.by, seconds=time.monotonic() - begun)

    def _succeeds(self, test: str, tests: dict[str, float]) -> bool:
        """Whether a test succeeds in the tree as it is; asked once for each that has noticed something."""
        if test not in self._sound:
            self._sound[test] = self._run({test: tests[test]}).verdict == "survived"
        return self._sound[test]

    def _try_with(self, change: Change, tests: dict[str, float]) -> Outcome:
        path = self._tree / change.module
        source, status = path.read_bytes(), path.stat()
        self._trials += 1
        try:
            path.write_bytes(change.apply(source))
            # Bytecode goes by whole seconds.
            os.utime(path, (status.st_atime, status.st_mtime + 10 + self._trials))
            return self._judge(tests)
        finally:
            path.write_bytes(source)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def _judge(self, tests: dict[str, float]) -> Outcome:
        names = list(tests)
        few, many = _FIRST_TESTS
        left = [names[:few], names[few:many], names[many:]]
        while left:
            now = left.pop(0)
            outcome = self._run({name: tests[name] for name in now}) if now else None
            if outcome is None or not outcome.is_caught:
                continue
            is_sure = outcome.verdict != "caught" or outcome.by.startswith(_SURE)
            if is_sure or outcome.by not in tests:
                return outcome
            again = self._run({outcome.by: tests[outcome.by]})
            if again.is_caught:
                return outcome
            left.insert(0, now[now.index(outcome.by) + 1 :])
        return Outcome(verdict="survived" if tests else "untried")

    def _run(self, tests: dict[str, float]) -> Outcome:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            self._run_here(tests, writing)
        os.close(writing)
        try:
            return _watched(pid, reading, tests)
        finally:
            os.close(reading)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            for left in self._scratch.iterdir():
                shutil.rmtree(left, ignore_errors=True)

    def _run_here(self, tests: dict[str, float], writing: int) -> None:
        code = 3
        try:
            os.setsid()
            _redirect(self._tree / "last.log")
            resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
            files = dict.fromkeys(name.partition("::")[0] for name in tests)
            code = int(pytest.main([*_options(self._scratch / "t"), *files], [_Teller(list(tests), writing)]))
        finally:
            os.write(writing, f"done\t{code}\n".encode())
            os._exit(code)


class _Teller:
    """Runs the chosen tests in their order, and tells of each."""

    def __init__(self, tests: list[str], writing: int) -> None:
        self._places = {name: place for place, name in enumerate(tests)}
        self._writing = writing

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self._places),
            key=lambda item: self._places[item.nodeid],
        )

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._tell("start", nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._tell("failed", report.nodeid)

    def _tell(self, *words: str) -> None:
        # One that pytest.fail, or a mutant, has closed is no reason to fail.
        with contextlib.suppress(OSError):
            os.write(self._writing, ("\t".join(words) + "\n").encode())


def _options(temporary: Path) -> list[str]:
    return [
        *("-o", "addopts=--strict-markers --import-mode=importlib", "-p", "no:cacheprovider"),
        *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # Libraries are imported already.
        *("-n", "0", "-x", "-q", "--no-header", "--tb=short", "--hypothesis-seed=1"),
        f"--basetemp={temporary}",
    ]


def _redirect(log: Path) -> None:
    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(fd, standard)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def _watched(pid: int, reading: int, tests: dict[str, float]) -> Outcome:
    """Follow a trial until it is over, or hangs."""
    running = failed = ""
    pending = b""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        ready, _, _ = select.select([reading], [], [], 0.5)
        heard = os.read(reading, 65536) if ready else None
        if heard == b"" or (heard is None and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            _, status = os.waitpid(pid, 0)
            return Outcome(
                verdict="caught" if failed else "crashed", by=failed or running or f"status {status}"
            )
        *lines, pending = (pending + (heard or b"")).split(b"\n")
        for line in lines:
            word, _, value = line.decode().partition("\t")
            if word == "done":
                os.waitpid(pid, 0)
                return _of_exit(int(value), failed)
            if word == "failed":
                failed = failed or value
            running = value
            deadline = time.monotonic() + max(_LEAST_S, _PATIENCE * tests.get(running, 0.0))
    os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return Outcome(verdict="caught" if failed else "hung", by=failed or running)


def _of_exit(code: int, failed: str) -> Outcome:
    match code:
        case pytest.ExitCode.OK:
            return Outcome(verdict="survived")
        case pytest.ExitCode.TESTS_FAILED:
            return Outcome(verdict="caught", by=failed)
        case pytest.ExitCode.NO_TESTS_COLLECTED:
            return Outcome(verdict="survived")
        case _:
            return Outcome(verdict="unloadable")


def _import_libraries(tree: Path) -> None:
    """Import what tests and code import that is not theirs: it is the same for all trials."""
    own = {path.stem for folder in ("bench", "packaging") for path in (tree / folder).iterdir()}
    own |= {"proxy", "support", "mutation", "tests", "playwright"}
    for name in sorted(set(_imported(tree)) - own):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def _imported(tree: Path) -> Iterator[str]:
    for folder in ("proxy", "tests"):
        for path in (tree / folder).rglob("*.py"):
            for node in ast.parse(path.read_bytes()).body:
                match node:
                    case ast.Import():
                        yield from (alias.name.partition(".")[0] for alias in node.names)
                    case ast.ImportFrom(module=str(name)):
                        yield name.partition(".")[0]
                    case _:
                        pass

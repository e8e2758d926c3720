"""Which tests reach which function: told by the functions themselves, in a copy that was written for that.

As a pytest plugin (`-p mutation.reach`) it takes down what each test reached and how long it took.
Programs that a test starts tell it too, as pytest names the test in their environment.
"""

import ast
import builtins
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mutation.trees import ROOT

_FOLDER = "MUTATION_REACH"
"""The variable that names the folder where is written down what was reached."""
_TELL = "_tell_that_it_was_reached"
_PRELUDE = f"""
import builtins as _builtins
if not hasattr(_builtins, "{_TELL}"):
    import os as _os
    _told = set()
    def _tell(name):
        test = _os.environ.get("PYTEST_CURRENT_TEST", "")
        if name not in _told and test and (folder := _os.environ.get("{_FOLDER}")):
            _told.add(name)
            with open(folder + "/programs", "a") as file:
                file.write(test.rpartition(" (")[0] + "\\t" + name + "\\n")
    setattr(_builtins, "{_TELL}", _tell)
"""


def make_tell(root: Path) -> None:
    """Have each function of the package at `root` tell when it is called."""
    for path in (root / "proxy").rglob("*.py"):
        module = ast.parse(path.read_text())
        _mark(module, path.relative_to(root).as_posix(), [])
        path.write_text(ast.unparse(ast.fix_missing_locations(module)))
    first = root / "proxy" / "__init__.py"
    first.write_text(first.read_text() + _PRELUDE)


def _mark(node: ast.AST, module: str, names: list[str]) -> None:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            _mark(child, module, names)
            continue
        inner = [*names, child.name]
        _mark(child, module, inner)
        if not isinstance(child, ast.ClassDef):
            told = f"{module}::{'.'.join(inner)}"
            tell = ast.Expr(ast.Call(ast.Name(_TELL, ast.Load()), [ast.Constant(told)], []))
            child.body.insert(1 if ast.get_docstring(child) is not None else 0, tell)


class _Reached:
    """What the test that runs now has reached."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / f"tests-{os.getpid()}").open("a")
        self._names: set[str] = set()
        setattr(builtins, _TELL, self._names.add)
        self._seconds = 0.0
        self._has_passed = True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._names.clear()
        self._seconds, self._has_passed = 0.0, True
        result = yield
        told = {"test": item.nodeid, "seconds": round(self._seconds, 3), "reached": sorted(self._names)}
        if self._has_passed:
            self._file.write(json.dumps(told) + "\n")
            self._file.flush()
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds += report.duration
        self._has_passed = self._has_passed and report.passed


def pytest_configure(config: pytest.Config) -> None:
    """Take part wherever tests run: not in the process that hands them out."""
    folder = os.environ.get(_FOLDER)
    hands_out = config.getoption("numprocesses", None) and not hasattr(config, "workerinput")
    if folder is not None and not hands_out:
        config.pluginmanager.register(_Reached(Path(folder)))


class Reach:
    """What was taken down: the tests of each function, and their seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        self.seconds: dict[str, float] = stored.get("seconds", {})
        names = list(self.seconds)
        self._tests: dict[str, set[str]] = {
            name: {names[number] for number in numbers} for name, numbers in stored.get("tests", {}).items()
        }
        self._files: dict[str, str] = stored.get("files", {})

    def is_known(self, file: str, digest: str | None) -> bool:
        """Whether the tests of a file have been watched; with a digest, as they are in that file."""
        return file in self._files if digest is None else self._files.get(file) == digest

    def take_in(self, folder: Path, files: dict[str, str]) -> None:
        """Put what the tests of these files have told in the place of what they told before.

        `files` has the digest of each file.
        """
        self._forget(set(files))
        for path in folder.glob("tests-*"):
            for line in path.read_text().splitlines():
                told = json.loads(line)
                self.seconds[told["test"]] = told["seconds"]
                for name in told["reached"]:
                    self._tests.setdefault(name, set()).add(told["test"])
        if (programs := folder / "programs").exists():
            for line in programs.read_text().splitlines():
                test, _, name = line.partition("\t")
                if test in self.seconds:
                    self._tests.setdefault(name, set()).add(test)
        self._files |= files
        numbers = {test: number for number, test in enumerate(self.seconds)}
        tests = {name: sorted(numbers[test] for test in its) for name, its in self._tests.items()}
        self._path.write_text(json.dumps({"files": self._files, "seconds": self.seconds, "tests": tests}))

    @property
    def quickest(self) -> str:
        """The test that takes the least time."""
        return min(self.seconds, key=lambda test: self.seconds[test])

    def forget_removed(self) -> None:
        """Forget the tests of files that are not there any more."""
        self._forget({name for name in self._files if not (ROOT / name).is_file()})

    def _forget(self, files: set[str]) -> None:
        self.seconds = {test: s for test, s in self.seconds.items() if test.partition("::")[0] not in files}
        for tests in self._tests.values():
            tests.intersection_update(self.seconds)

    def tests_of(self, module: str, function: str) -> set[str]:
        """Return the tests that reach a function; of what is none, those that reach anything near it."""
        name = f"{module}::{function}"
        if function and name in self._tests:
            return self._tests[name]
        near = [tests for known, tests in self._tests.items() if function and known.startswith(f"{name}.")]
        near = near or [tests for known, tests in self._tests.items() if known.startswith(f"{module}::")]
        return set().union(*near)

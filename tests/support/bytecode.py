"""Compiled modules of the tests, and of the program for the processes that they start.

Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each of hundreds of processes would
compile the whole program anew: a third of what the tests cost. The modules are left in pytest's own
folder instead, and nothing beside the sources.

In a new checkout, each process of a run would compile all tests and libraries for itself, at the same time.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import cache_from_source
from pathlib import Path

_TESTS = Path(__file__).parents[1]
_FOLDER = _TESTS.parent / ".pytest_cache" / "bytecode"


def keep_bytecode() -> None:
    """Keep compiled modules, in this process and those that it starts."""
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) is None:
        return
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(_FOLDER))
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"]
    sys.dont_write_bytecode = False


def compile_once(arguments: Sequence[str]) -> None:
    """Compile the tests that pytest's arguments name, unless most have been compiled before."""
    tests = list(_TESTS.rglob("test_*.py"))
    if sum(map(_is_compiled, tests)) < len(tests) / 2:
        collect = ["--collect-only", "--quiet", "--numprocesses=0", *arguments]
        subprocess.run([sys.executable, "-m", "pytest", *collect], check=False, stdout=subprocess.DEVNULL)


def _is_compiled(test: Path) -> bool:
    """Whether pytest has left its own form of a module, which has pytest's release in its name."""
    return any(Path(cache_from_source(str(test))).parent.glob(f"{test.stem}.*-pytest-*.pyc"))

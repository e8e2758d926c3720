"""`lint-imports` for a tree that changes between its runs, by one process that has read the program.

To read the program takes it as long as to judge a tree. Its exit status and words are those of the command.
"""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_COLUMNS = "200"
"""Wide enough for the name of each contract on one line."""


class Linted(NamedTuple):
    """What came of a run."""

    status: int
    told: str


class Linter:
    """A process that runs `lint-imports` in a folder whenever it is asked to; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env={"COLUMNS": _COLUMNS, "PATH": os.defpath},
        )

    def lint(self, *contracts: str) -> Linted:
        """Run it on the folder as it is now, for the contracts with these ids, or for all."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{json.dumps(contracts)}\n")
        self._process.stdin.flush()
        return Linted(*json.loads(self._process.stdout.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()


def _main() -> None:
    from importlinter.cli import lint_imports  # noqa: PLC0415 - only the process that was started needs it

    for contracts in sys.stdin:
        told = StringIO()
        with redirect_stdout(told):
            status = lint_imports(limit_to_contracts=tuple(json.loads(contracts)))
        print(json.dumps([status, told.getvalue()]), flush=True)  # noqa: T201 - a reply


if __name__ == "__main__":
    _main()

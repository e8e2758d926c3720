"""Another process that holds something in the store, until it is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]


class Holding:
    """A real process that runs `code`, which has printed a line and waits; a context manager.

    Names at the command line are `sys.argv[1:]` of the code.
    """

    def __init__(self, code: str, *arguments: object) -> None:
        whole = f"import sys, time\n{code}\nprint('ready', flush=True)\ntime.sleep(600)\n"
        self._process = subprocess.Popen(
            [sys.executable, "-c", whole, *map(str, arguments)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout is not None
        self.said = self._process.stdout.readline().strip()

    def kill(self) -> None:
        """End it as a crash would, and return when it is gone."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(30)

    def __enter__(self) -> Self:
        assert self.said == "ready"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()

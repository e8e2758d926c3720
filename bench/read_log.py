"""The log of a service through a pipe, as containers read it, by a reader that can be told to pause."""

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

_DROPPED = re.compile(r"log\.dropped lines=(\d+)")
_PATH = re.compile(r"\brequest client=\S* method=\S+ path=(\S+)")
_QUIET = ("INFO", "DEBUG")
_TRACEBACK = "Traceback"


class ReadLog:
    """A pipe, the process that reads it, and the file that this writes."""

    def __init__(self, pipe: Path, file: Path, reader: subprocess.Popen[bytes]) -> None:
        self.pipe = pipe
        """What the service writes to."""
        self._file = file
        self._reader = reader

    def pause(self) -> None:
        """Leave what is written unread."""
        self._reader.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Read again."""
        self._reader.send_signal(signal.SIGCONT)

    def finish(self) -> None:
        """Read to the end: every writer has gone."""
        self.go_on()
        self._reader.wait()

    def lines_of(self, path: str) -> int:
        """Return how many requests for a path were logged."""
        with self._file.open(errors="replace") as lines:
            return sum((found := _PATH.search(line)) is not None and found[1] == path for line in lines)

    def dropped(self) -> int:
        """Return how many lines the log says that it dropped."""
        with self._file.open(errors="replace") as lines:
            return sum(int(found[1]) for line in lines if (found := _DROPPED.search(line)))

    def tracebacks(self) -> int:
        """Return how many tracebacks there are."""
        with self._file.open(errors="replace") as lines:
            return sum(_TRACEBACK in line for line in lines)

    def troubles(self) -> Iterator[str]:
        """Yield the lines that are neither information nor of the access log."""
        with self._file.open(errors="replace") as lines:
            yield from (line for line in lines if not any(f" {level} " in line for level in _QUIET))


@contextlib.contextmanager
def read_log(folder: Path) -> Iterator[ReadLog]:
    """Make a pipe below `folder` and read it until the context ends."""
    pipe, file = folder / "log.pipe", folder / "log"
    os.mkfifo(pipe)
    # It holds a writing end itself, so that the reader opens at once and lasts through restarts.
    held = os.open(pipe, os.O_RDWR)
    with pipe.open("rb") as source, file.open("wb") as output:
        reader = subprocess.Popen(["cat"], stdin=source, stdout=output)
    log = ReadLog(pipe, file, reader)
    try:
        yield log
    finally:
        os.close(held)
        log.finish()

"""Showing how far a long command is: a line that moves on a terminal, a line each minute elsewhere, or JSON.

`prefetch`, `export`, `import` and `sync` share it. A thread looks on and writes, so that a terminal
or a pipe that takes nothing holds up no transfer, and a transfer that waits is seen to wait.
"""

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TextIO

from proxy.cli.progress_text import failure_line, log_line, progress_event, terminal_line
from proxy.cli.reckoning import Figures, Reckoning
from proxy.readable import counted, size

_USUAL_WIDTH = 80
_CLEAR = "\r\x1b[K"
"""To the start of the line, and erase what is there."""
_SLOWEST_LOOK_S = 1.0
_PLAIN = {"", "dumb", "unknown"}
"""What TERM is where nobody knows how to erase a line."""


class Form(Protocol):
    """How progress is written: each method returns the text to write at that moment, or none."""

    look_s: float
    """How often it is asked what to write."""
    window_s: float
    """Over which time it tells rates."""

    def begun(self, files: int, size_bytes: int) -> str:
        """Tell of work to do."""

    def shown(self, figures: Figures, now: float) -> str:
        """Tell how far it is."""

    def ended(self, mirror: str, path: str, problem: str | None) -> str:
        """Tell of a file that is there, or has failed."""

    def closed(self) -> str:
        """Leave the place as it was."""


class MovingLine:
    """One line of a terminal, drawn again and again; without colours, so that there are none to turn off."""

    look_s = 0.25
    window_s = 15.0

    def __init__(self, terminal: int) -> None:
        """Draw on the terminal behind that descriptor."""
        self._terminal = terminal

    def begun(self, files: int, size_bytes: int) -> str:  # noqa: ARG002 - the plan has said so
        """Tell nothing."""
        return ""

    def shown(self, figures: Figures, now: float) -> str:  # noqa: ARG002 - it is drawn at each look
        """Draw the line, as wide as the terminal is by now; in the background others have the terminal."""
        if not _is_in_foreground(self._terminal):
            return ""
        return f"\r{terminal_line(figures, _width(self._terminal))}\x1b[K"

    def ended(self, mirror: str, path: str, problem: str | None) -> str:
        """Leave a line above for a failure."""
        return "" if problem is None else f"{_CLEAR}{failure_line(mirror, path, problem)}\n"

    def closed(self) -> str:
        """Erase the line."""
        return _CLEAR if _is_in_foreground(self._terminal) else ""


class LineEachMinute:
    """Plain lines for a log, a mail, a file or a pipe."""

    look_s = _SLOWEST_LOOK_S
    window_s = 60.0

    def __init__(self, what: str, now: float) -> None:
        """Call the work by a word, such as "fetching"."""
        self._what = what
        self._shown_at = now

    def begun(self, files: int, size_bytes: int) -> str:
        """Tell what is to do."""
        return f"{self._what} {size(size_bytes)} in {counted(files, 'file')}\n"

    def shown(self, figures: Figures, now: float) -> str:
        """Tell how far it is, if the last time was a minute ago."""
        if now - self._shown_at < self.window_s:
            return ""
        self._shown_at = now
        return f"{log_line(self._what, figures)}\n"

    def ended(self, mirror: str, path: str, problem: str | None) -> str:
        """Tell of a failure at once."""
        return "" if problem is None else f"{failure_line(mirror, path, problem)}\n"

    def closed(self) -> str:
        """Tell nothing: the summary follows."""
        return ""


class JsonLines:
    """One JSON object a line."""

    look_s = _SLOWEST_LOOK_S
    window_s = 15.0

    def begun(self, files: int, size_bytes: int) -> str:  # noqa: ARG002 - the plan has said so
        """Tell nothing."""
        return ""

    def shown(self, figures: Figures, now: float) -> str:  # noqa: ARG002 - it is told at each look
        """Tell how far it is."""
        return _json_line(progress_event(figures))

    def ended(self, mirror: str, path: str, problem: str | None) -> str:
        """Tell of each file."""
        return _json_line({"event": "item", "mirror": mirror, "path": path, "problem": problem})

    def closed(self) -> str:
        """Tell nothing: the summary follows."""
        return ""


class ShownProgress:
    """A `Progress` that somebody sees, from the first `begun` until it is closed."""

    def __init__(self, form: Form, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        """Write in that form to a stream."""
        self._form = form
        self._stream = stream
        self._clock = clock
        self._lock = threading.Lock()
        """Over what follows; nobody writes while holding it."""
        self._reckoning: Reckoning | None = None
        self._to_write: list[str] = []
        self._fault: OSError | None = None
        self._is_closing = threading.Event()
        self._writer = threading.Thread(target=self._write, name="progress", daemon=True)

    def begun(self, files: int, size_bytes: int) -> None:
        """Add work, and show progress from now on."""
        self._raise_fault()
        with self._lock:
            is_first = self._reckoning is None
            reckoning = self._reckoning or Reckoning(self._form.window_s, self._clock())
            reckoning.begun(files, size_bytes)
            self._reckoning = reckoning
            self._to_write.append(self._form.begun(files, size_bytes))
        if is_first:
            self._writer.start()

    def moved(self, path: str, count: int) -> None:
        """Count bytes."""
        self._raise_fault()
        with self._lock:
            if self._reckoning is not None:
                self._reckoning.moved(path, count)

    def ended(
        self, path: str, problem: str | None = None, *, mirror: str = "", missing_bytes: int = 0
    ) -> None:
        """Count a file, and tell of it if the form does."""
        self._raise_fault()
        with self._lock:
            if self._reckoning is not None:
                self._reckoning.ended(has_failed=problem is not None, missing_bytes=missing_bytes)
            self._to_write.append(self._form.ended(mirror, path, problem))

    def close(self) -> None:
        """Write what is to be written still, and leave the terminal as it was."""
        self._is_closing.set()
        if self._writer.ident is not None:
            self._writer.join()
            self._raise_fault()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _write(self) -> None:
        """Look on until it is closed; runs in a thread of its own."""
        try:
            self._put(self._due(is_look=False))
            while not self._is_closing.wait(self._form.look_s):
                self._put(self._due(is_look=True))
            self._put(self._due(is_look=False) + self._form.closed())
        except OSError as error:
            self._fault = error

    def _due(self, *, is_look: bool) -> str:
        """Return what is to be written now."""
        now = self._clock()
        with self._lock:
            text, self._to_write = "".join(self._to_write), []
            if is_look and self._reckoning is not None:
                text += self._form.shown(self._reckoning.look(now), now)
        return text

    def _put(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()


@contextlib.contextmanager
def open_progress(
    what: str, *, as_json: bool, is_stdout_data: bool = False, clock: Callable[[], float] = time.monotonic
) -> Iterator[ShownProgress]:
    """Show progress of what is done inside, in the form that fits where the output goes.

    `what` is done, such as "exporting". Where standard output carries the data themselves,
    all is written to standard error.
    """
    shown = make_progress(what, as_json=as_json, is_stdout_data=is_stdout_data, clock=clock)
    try:
        yield shown
    except BaseException:
        with contextlib.suppress(OSError):
            shown.close()
        raise
    shown.close()


def make_progress(
    what: str, *, as_json: bool, is_stdout_data: bool = False, clock: Callable[[], float] = time.monotonic
) -> ShownProgress:
    """Return what `open_progress` does, to be closed by the caller."""
    if as_json:
        return ShownProgress(JsonLines(), sys.stderr if is_stdout_data else sys.stdout, clock)
    if _is_terminal(sys.stderr) and os.environ.get("TERM", "") not in _PLAIN:
        return ShownProgress(MovingLine(sys.stderr.fileno()), sys.stderr, clock)
    return ShownProgress(LineEachMinute(what, clock()), sys.stderr, clock)


def _json_line(event: dict[str, Any]) -> str:
    return f"{json.dumps(event)}\n"


def _is_terminal(stream: TextIO) -> bool:
    return stream.isatty()


def _is_in_foreground(terminal: int) -> bool:
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return True  # It is not the terminal that controls this process.


def _width(terminal: int) -> int:
    try:
        return os.get_terminal_size(terminal).columns or _USUAL_WIDTH
    except OSError:
        return _USUAL_WIDTH

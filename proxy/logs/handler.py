"""Where the events of a process become its lines."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable

from proxy.logs.destination import Destination
from proxy.logs.forms import HumanForm, JsonForm
from proxy.logs.priorities import WithPriorities, priority
from proxy.logs.writer import ROOM_BYTES, ROOM_FOR_TROUBLE_BYTES, LineWriter

_PATIENCE_S = 2.0
"""How long the end of a process waits for a log that nobody reads."""


class LineHandler(logging.Handler):
    """Hands events to the writer as lines, and says how others make lines that look the same."""

    def __init__(self, form: HumanForm | JsonForm, destination: Destination) -> None:
        super().__init__()
        self._is_journal = destination.is_journal
        self.take_form(form)
        self.writer = LineWriter(destination, self._told_of_dropped)

    def take_form(self, form: HumanForm | JsonForm) -> None:
        """Give lines this form from now on."""
        self.form = form
        self.setFormatter(WithPriorities(form) if self._is_journal else form)

    def emit(self, record: logging.LogRecord) -> None:
        """Put the lines of an event down for writing."""
        try:
            room_bytes = ROOM_BYTES if record.levelno < logging.WARNING else ROOM_FOR_TROUBLE_BYTES
            self.writer.put(f"{self.format(record)}\n", room_bytes)
        except Exception:  # noqa: BLE001 - as logging does
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits; `logging.shutdown` asks for it at the end of a process."""
        self.writer.settle(_PATIENCE_S)

    @contextlib.asynccontextmanager
    async def dropped_lines_counted(self, count: Callable[[int], None]) -> AsyncIterator[None]:
        """Have lines counted that are dropped within the context, or were before."""
        self.writer.count_dropped_by(count)
        try:
            yield
        finally:
            self.writer.count_dropped_by(None)

    def around_time(self, record: logging.LogRecord) -> tuple[str, str]:
        """Return what stands before the time in an event's line, and after it, with the line feed."""
        before = (priority(record.levelno) if self._is_journal else "") + self.form.opening
        line = f"{self.format(record)}\n"
        return before, line[len(before) + len(self.form.stamp(record.created)) :]

    def _told_of_dropped(self, count: int) -> str:
        record = logging.LogRecord(
            __name__, logging.WARNING, __file__, 0, "log.dropped lines=%d", (count,), None
        )
        return f"{self.format(record)}\n"

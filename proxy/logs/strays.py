"""What Python itself would write to standard error: crashes that nothing awaits, and warnings.

They become events, or their lines would be in no form and without a priority.
"""

import logging
import sys
import threading
from types import TracebackType

from proxy.logs.writer import THREAD_NAME

log = logging.getLogger(__name__)


def take_strays() -> None:
    """Log from now on what ends the program, or a thread of it, and what is passed over."""
    sys.excepthook = _note_end
    sys.unraisablehook = _note_passed_over
    threading.excepthook = _note_thread
    logging.captureWarnings(capture=True)


def _note_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("program.crashed problem=%s", kind.__name__, exc_info=(kind, error, trace))


def _note_thread(ended: threading.ExceptHookArgs) -> None:
    name = "" if ended.thread is None else ended.thread.name
    if name == THREAD_NAME or ended.exc_value is None:
        threading.__excepthook__(ended)  # The log would fail again by telling of itself.
        return
    log.error("thread.crashed name=%s", name, exc_info=ended.exc_value)


def _note_passed_over(passed: "sys.UnraisableHookArgs") -> None:
    where = getattr(passed.object, "__qualname__", type(passed.object).__qualname__)
    log.error("error.passed_over where=%s", where, exc_info=passed.exc_value)

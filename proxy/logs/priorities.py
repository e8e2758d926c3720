"""Lines with priorities, as systemd's journal takes them on standard error (sd-daemon(3)).

The journal makes an entry of each line, so each line of a traceback has its own priority.
"""

import logging

_INFORMATION, _DEBUG = "<6>", "<7>"
_FROM_LEVEL_UP = ((logging.CRITICAL, "<2>"), (logging.ERROR, "<3>"), (logging.WARNING, "<4>"))


def priority(level: int) -> str:
    """Return what stands before a line of a level."""
    found = (text for least, text in _FROM_LEVEL_UP if level >= least)
    return next(found, _INFORMATION if level >= logging.INFO else _DEBUG)


class WithPriorities(logging.Formatter):
    """Puts the priority of an event before each of its lines."""

    def __init__(self, form: logging.Formatter) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of an event."""
        before = priority(record.levelno)
        return "\n".join(before + line for line in self._form.format(record).split("\n"))

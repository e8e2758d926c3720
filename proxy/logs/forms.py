"""The two forms of a log line: for people, or JSON for programs.

Every event is logged as a fixed name and fields, `blob.filled digest=%s bytes=%d`.
The template itself says which argument belongs to which field, so both forms
come from one call.

No line is longer than LONGEST_LINE_BYTES: then it stays whole among the lines of other
processes in a pipe (PIPE_BUF). Of a longer one the middle is left out.
"""

import json
import logging
import math
import re
import time
from typing import Any

LONGEST_LINE_BYTES = 4000
"""Without the line feed and what the journal wants before the line."""
SHORTENED = "[...]"
"""Stands for what was left out."""

_FIELD = re.compile(r"(\w+)=%[-.\d]*[sdrf]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows: a field could look like another."""
_MILLI = 1000
_MILLISECONDS = tuple(f".{number:03d}Z" for number in range(_MILLI))
_BELOW = "  "
"""Before each further line of an event: the lines of events alone begin at the left."""
_MOST_BYTES_A_CHARACTER = 6
"""Of half a surrogate pair, which is written as `\\udcff`."""


class HumanForm(logging.Formatter):
    """Time, level, event and fields on one line."""

    opening = ""
    """What stands before the time."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s")
        self._second = (-1, "")

    def stamp(self, moment_s: float) -> str:
        """Return a moment in local time."""
        second, text = self._second
        if second != int(moment_s):
            second = int(moment_s)
            text = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(second))
            self._second = (second, text)
        return text

    def quoted(self, text: str) -> str:
        """Return a value as it stands in a line; what a stranger sent cannot end it or steer a terminal."""
        return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], text)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - logging's name
        """Return the time of an event."""
        return self.stamp(record.created)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line of an event, without its traceback."""
        return self.quoted(super().formatMessage(record))

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of an event, and its traceback on further lines, which look like no event."""
        line, *below = super().format(record).split("\n")
        return "\n".join(map(_shortened, [line, *(_BELOW + self.quoted(one) for one in below)]))


class JsonForm(logging.Formatter):
    """One JSON object a line: time, level, event, and each field."""

    opening = '{"time": "'
    """What stands before the time."""

    def __init__(self) -> None:
        super().__init__()
        self._second = (-1, "")

    def stamp(self, moment_s: float) -> str:
        """Return a moment in UTC, with milliseconds."""
        second = int(moment_s)
        return self._stamp(second, int((moment_s - second) * _MILLI))

    def quoted(self, text: str) -> str:
        """Return a value as it stands between quotation marks."""
        return json.dumps(_sayable(text))[1:-1]

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        names = _FIELD.findall(record.msg) if isinstance(record.msg, str) else []
        line: dict[str, Any] = {
            "time": self._stamp(int(record.created), int(record.msecs)),
            "level": record.levelname.lower(),
        }
        if names and isinstance(record.args, tuple) and len(names) == len(record.args):
            line["event"] = record.msg.split(" ", 1)[0]
            line |= zip(names, record.args, strict=True)
        else:
            line["event"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        told = {name: _sayable(value) for name, value in line.items()}
        text = json.dumps(told)
        return text if len(text) <= LONGEST_LINE_BYTES else _shortened_object(told)

    def _stamp(self, second: int, milliseconds: int) -> str:
        known, text = self._second
        if known != second:
            text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._second = (second, text)
        return text + _MILLISECONDS[milliseconds]


def _shortened(line: str) -> str:
    """Return a line without its middle if it is too long."""
    if len(line) <= LONGEST_LINE_BYTES // _MOST_BYTES_A_CHARACTER:
        return line
    data = encoded(line)
    if len(data) <= LONGEST_LINE_BYTES:
        return line
    half = (LONGEST_LINE_BYTES - len(SHORTENED)) // 2
    return f"{data[:half].decode(errors='ignore')}{SHORTENED}{data[-half:].decode(errors='ignore')}"


def _sayable(value: Any) -> Any:
    """Return a value as any reader of JSON takes it (RFC 7493): what is no number that it knows is text."""
    if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = str(value)
    return text if text.isascii() else encoded(text).decode()


def _shortened_object(told: dict[str, Any]) -> str:
    """Return an object as JSON that is short enough, without the middles of its longest values."""
    longest = LONGEST_LINE_BYTES
    while len(text := json.dumps(told)) > LONGEST_LINE_BYTES:
        longest = longest * 3 // 4
        told = {name: _without_middle(value, longest) for name, value in told.items()}
    return text


def _without_middle(value: Any, longest: int) -> Any:
    """Return a value whose JSON has at most so many characters."""
    written = json.dumps(value)
    if len(written) <= longest:
        return value
    whole, half = value if isinstance(value, str) else written, longest // 2
    while half:
        text = whole[:half] + SHORTENED + whole[-half:]
        if len(json.dumps(text)) <= longest:
            return text
        half = half * 3 // 4  # A character may take up to 12 characters of JSON.
    return SHORTENED


def encoded(text: str) -> bytes:
    """Return text as bytes, whatever is in it."""
    return text.encode(errors="backslashreplace")

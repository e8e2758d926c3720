"""How events become log lines: for people, or JSON for programs.

Every event is logged as a fixed name and fields, `blob.filled digest=%s bytes=%d`.
The template itself says which argument belongs to which field, so both forms
come from one call.
"""

import json
import logging
import re
import sys
import time
from typing import Any

from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestPayloadError

_FIELD = re.compile(r"(\w+)=%[-.\d]*[sdrf]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class HumanFormatter(logging.Formatter):
    """Time, level, event and fields on one line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(message)s", "%Y-%m-%d %H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Return the line; what a stranger sent cannot end it or steer a terminal."""
        return _CONTROL.sub(lambda match: ascii(match.group())[1:-1], super().formatMessage(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, event, and each field."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        names = _FIELD.findall(record.msg) if isinstance(record.msg, str) else []
        line: dict[str, Any] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
        }
        if names and isinstance(record.args, tuple) and len(names) == len(record.args):
            line["event"] = record.msg.split(" ", 1)[0]
            line |= zip(names, record.args, strict=True)
        else:
            line["event"] = record.getMessage()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def _is_our_fault(record: logging.LogRecord) -> bool:
    """Whether aiohttp reports a crash of ours, rather than a malformed request of a stranger."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, (HttpProcessingError, RequestPayloadError))


def set_up_logging(level: str, form: str) -> None:
    """Send all events to standard error; `form` is "human" or "json"."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("aiohttp.server").addFilter(_is_our_fault)
    logging.getLogger("asyncio").setLevel(logging.ERROR)

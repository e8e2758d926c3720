"""Events become lines that the writer keeps: what has room when requests have taken theirs."""

import logging
import os

from proxy.logs.destination import standard_error
from proxy.logs.forms import HumanForm
from proxy.logs.handler import LineHandler
from proxy.logs.writer import ROOM_BYTES


def event(level: int, template: str) -> logging.LogRecord:
    return logging.LogRecord("proxy.test", level, __file__, 1, template, (), None)


def test_a_flood_of_requests_leaves_room_for_warnings_and_errors() -> None:
    """Nobody reads until all have been logged."""
    read_end, write_end = os.pipe()
    handler = LineHandler(HumanForm(), standard_error({}, write_end))
    for _ in range(2 * ROOM_BYTES // 1000):
        handler.handle(event(logging.INFO, "request path=" + "x" * 1000))
    for level in (logging.INFO, logging.WARNING, logging.ERROR):
        handler.handle(event(level, f"late level={level}"))
    data = b""
    while b"log.dropped" not in data:
        data += os.read(read_end, 65536)
    handler.flush()
    os.close(write_end)
    with os.fdopen(read_end, "rb") as rest:
        data += rest.read()
    *_, note, warning, error = data.decode().splitlines()
    assert " WARNING log.dropped lines=" in note
    assert warning.endswith(" WARNING late level=30")
    assert error.endswith(" ERROR   late level=40")

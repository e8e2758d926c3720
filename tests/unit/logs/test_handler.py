"""Events become lines that the writer keeps: what has room when requests have taken theirs."""

import fcntl
import logging
import os
import termios
import time
from array import array

from proxy.logs.destination import standard_error
from proxy.logs.forms import HumanForm
from proxy.logs.handler import LineHandler
from proxy.logs.writer import ROOM_BYTES

LEAST_WRITTEN_BYTES = 45_000
"""A pipe has room for 16 pages, and each takes as many whole lines as fit: three of these."""


def event(level: int, template: str) -> logging.LogRecord:
    return logging.LogRecord("proxy.test", level, __file__, 1, template, (), None)


def flood(handler: LineHandler) -> None:
    for _ in range(2 * ROOM_BYTES // 1000):
        handler.handle(event(logging.INFO, "request path=" + "x" * 1000))


def wait_until_full(pipe: int) -> None:
    """Wait until the writer has put into a pipe what fits, so that it takes nothing more."""
    waiting = array("i", [0])
    deadline = time.monotonic() + 30
    while waiting[0] < LEAST_WRITTEN_BYTES and time.monotonic() < deadline:
        fcntl.ioctl(pipe, termios.FIONREAD, waiting)
        time.sleep(0.01)
    assert waiting[0] >= LEAST_WRITTEN_BYTES


def test_a_flood_of_requests_leaves_room_for_warnings_and_errors() -> None:
    """Nobody reads until all have been logged."""
    read_end, write_end = os.pipe()
    handler = LineHandler(HumanForm(), standard_error({}, write_end))
    flood(handler)
    wait_until_full(read_end)
    flood(handler)
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

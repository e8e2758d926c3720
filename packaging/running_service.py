"""A service as systemd and its clients see it: its state, and what it answers.

Needs Python's own library and nothing else.
"""

import http.client
import socket
import time
from collections.abc import Callable

from trial import expect, run, step

SERVICE = "sstream-proxy.service"
_PATIENCE_S = 60.0


def state(name: str, unit: str = SERVICE) -> str:
    """Return what systemd knows of a unit by this name."""
    return run("systemctl", "show", "--value", f"--property={name}", unit).strip()


def main_process() -> int:
    """Return the number of the service's first process; 0 while there is none."""
    return int(state("MainPID"))


def restart() -> None:
    """Restart the service, though it was started often: systemd refuses the sixth start in ten seconds."""
    run("systemctl", "reset-failed", SERVICE)
    run("systemctl", "restart", SERVICE)


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    """Return when something holds; end everything if that takes too long."""
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        expect(time.monotonic() < until, otherwise)
        time.sleep(0.1)


def expect_no_errors() -> None:
    """See that nobody has told the journal of an error since the start."""
    step("the journal has no error")
    told = run("journalctl", "--boot", "--quiet", "--no-pager", "--priority=err", "--unit=sstream-proxy*")
    expect(told == "", told)


def ask(path: str, of_socket: str | None = None, port: int = 8080) -> tuple[int, bytes]:
    """Return status and body of a reply: 0 where nobody answers, and what has arrived where it was cut."""
    status, body = 0, b""
    connection = _Connection(of_socket, port)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        status = reply.status
        body = reply.read()
    except http.client.IncompleteRead as error:
        body = error.partial
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()
    return status, body


class _Connection(http.client.HTTPConnection):
    """Goes to a port of loopback, or to a local socket."""

    def __init__(self, of_socket: str | None, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=_PATIENCE_S)
        self._of_socket = of_socket

    def connect(self) -> None:
        """Connect."""
        if self._of_socket is None:
            super().connect()
            return
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_PATIENCE_S)
        self.sock.connect(self._of_socket)

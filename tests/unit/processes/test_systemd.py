"""What systemd is told, and what happens while it reads nothing."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.processes.systemd import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Yield a socket like systemd's that holds all it can."""
    path = str(tmp_path / "notify")
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as read,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as written,
    ):
        read.bind(path)
        written.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                written.sendto(b"of another service", path)
        yield read


def test_a_watchdog_that_is_not_read_stops_nothing(
    systemd: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "2000000"})
    feeding = threading.Thread(target=notifier.feed_watchdog, args=(1000.0,), daemon=True)
    feeding.start()
    feeding.join(10)
    assert not feeding.is_alive()
    assert not caplog.records  # It would be one every second.


def test_what_is_said_once_waits_until_it_is_read(systemd: socket.socket) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": systemd.getsockname()})
    telling = threading.Thread(target=notifier.ready, args=("here",), daemon=True)
    telling.start()
    systemd.settimeout(10)
    while (text := systemd.recv(4096)) == b"of another service":
        pass
    telling.join(10)
    assert text == b"READY=1\nSTATUS=here"

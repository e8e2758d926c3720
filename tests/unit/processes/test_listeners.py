"""Sockets that systemd, or whoever writes its units, hands over."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

_HANDED_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=sys.argv[2])
os.execv(sys.executable, [sys.executable, "-m", "proxy", "serve", "--data-dir", sys.argv[3]])
"""


def datagram() -> socket.socket:
    """Make what ListenDatagram= makes."""
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    one.bind(("127.0.0.1", 0))
    return one


def connected() -> socket.socket:
    """Make what Accept=yes hands over."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.create_connection(server.getsockname())


def netlink() -> socket.socket:
    """Make what ListenNetlink= makes."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


@pytest.mark.parametrize(
    ("made", "count", "told"),
    [
        (datagram, "1", "file descriptor 3 is no socket that clients connect to"),
        (connected, "1", "file descriptor 3 is no socket that clients connect to"),
        (netlink, "1", "file descriptor 3 is no socket that clients connect to"),
        (datagram, "one", "LISTEN_FDS is 'one', which is no number"),
        (datagram, "", "LISTEN_FDS is '', which is no number"),
        (datagram, "-1", "LISTEN_FDS is '-1', which is no number"),
    ],
)
def test_what_nobody_can_connect_to_is_refused(
    tmp_path: Path, made: Callable[[], socket.socket], count: str, told: str
) -> None:
    with made() as one:
        result = subprocess.run(
            [sys.executable, "-c", _HANDED_OVER, str(one.fileno()), count, str(tmp_path / "data")],
            capture_output=True,
            text=True,
            env={**os.environ, "WATCHDOG_USEC": "\u00b2"},
            pass_fds=[one.fileno()],
            timeout=60,
            check=False,
        )

    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith(
        f"Error: the sockets of systemd cannot be used: {told}; in the socket unit write ListenStream="
    )

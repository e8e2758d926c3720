"""The listening sockets: bound here, or handed over by systemd."""

import os
import socket
from collections.abc import Mapping, Sequence

from proxy.errors import ProxyError

_BACKLOG = 1024
_FIRST_HANDED_OVER = 3
"""File descriptor, by systemd's rule (sd_listen_fds)."""


class CannotListen(ProxyError):
    """An address that cannot be bound."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        problem = error.strerror or str(error)
        super().__init__(f"cannot listen on {host}:{port}: {problem}; choose another with --listen")


def bind(
    addresses: Sequence[tuple[str, int]], known: Mapping[tuple[str, int], socket.socket] | None = None
) -> dict[tuple[str, int], socket.socket]:
    """Return a listening socket for each address, those that are known already included.

    Raises CannotListen, with none of the new ones left open.
    """
    known = known or {}
    sockets: dict[tuple[str, int], socket.socket] = {}
    for address in addresses:
        try:
            sockets[address] = known.get(address) or _bound(*address)
        except OSError as error:
            for other, one in sockets.items():
                if other not in known:
                    one.close()
            raise CannotListen(*address, error) from error
    return sockets


def handed_over(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """Return the sockets that systemd has opened for this process."""
    if environ.get("LISTEN_PID") != str(pid):
        return []
    count = int(environ.get("LISTEN_FDS", "0"))
    sockets = [socket.socket(fileno=fd) for fd in range(_FIRST_HANDED_OVER, _FIRST_HANDED_OVER + count)]
    for one in sockets:
        os.set_inheritable(one.fileno(), False)
        one.setblocking(False)
    return sockets


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    one.setblocking(False)
    return one

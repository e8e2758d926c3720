"""The listening sockets: bound here, or handed over by systemd."""

import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.errors import ProxyError

_BACKLOG = 1024
_FIRST_HANDED_OVER = 3
"""File descriptor, by systemd's rule (sd_listen_fds)."""
_ADMINS = "admin"
"""FileDescriptorName= of sockets that are the operator's."""


class CannotListen(ProxyError):
    """An address that cannot be bound."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        problem = error.strerror or str(error)
        super().__init__(
            f"cannot listen on {host}:{port}: {problem}; choose another with --listen or [admin] listen"
        )


class Listeners(NamedTuple):
    """The sockets of a service, by whom they are for, and what is spoken on them."""

    clients: tuple[socket.socket, ...] = ()
    admins: tuple[socket.socket, ...] = ()
    """The operator's pages are here alone; none means that they are where the clients are."""
    tls: ssl.SSLContext | None = None
    """Spoken over TCP. One for all processes, also those that start after the files have changed."""

    def close(self) -> None:
        """Close them in this process."""
        for one in (*self.clients, *self.admins):
            one.close()


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


def handed_over(environ: Mapping[str, str], pid: int) -> Listeners:
    """Return the sockets that systemd has opened for this process."""
    if environ.get("LISTEN_PID") != str(pid):
        return Listeners()
    count = int(environ.get("LISTEN_FDS", "0"))
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    groups: dict[bool, list[socket.socket]] = {True: [], False: []}
    for index in range(count):
        one = socket.socket(fileno=_FIRST_HANDED_OVER + index)
        os.set_inheritable(one.fileno(), False)
        one.setblocking(False)
        groups[index < len(names) and names[index] == _ADMINS].append(one)
    return Listeners(clients=tuple(groups[False]), admins=tuple(groups[True]))


def shown_address(one: socket.socket) -> str:
    """Return where a socket listens: HOST:PORT, [IPV6]:PORT, or unix:PATH."""
    name = one.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    one.setblocking(False)
    return one

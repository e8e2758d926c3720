"""The listening sockets, by whom they are for, and those that systemd hands over."""

import os
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from proxy.errors import ProxyError
from proxy.processes.connection_shares import WorkerShare

_FIRST_HANDED_OVER = 3
"""File descriptor, by systemd's rule (sd_listen_fds)."""
_FAMILIES = {socket.AF_INET, socket.AF_INET6, socket.AF_UNIX}
_ADMINS = "admin"
"""FileDescriptorName= of sockets that are the operator's."""
_PLAIN = "http"
"""FileDescriptorName= of sockets at which no TLS is spoken."""


class BadHandover(ProxyError):
    """What whoever started this process has opened for it cannot be listened on."""

    def __init__(self, problem: str) -> None:
        super().__init__(
            f"the sockets of systemd cannot be used: {problem}; "
            "in the socket unit write ListenStream=, and Accept=no"
        )


class Listeners(NamedTuple):
    """The sockets of a service, by whom they are for, and what is spoken on them."""

    clients: tuple[socket.socket, ...] = ()
    admins: tuple[socket.socket, ...] = ()
    """The operator's pages are here alone; none means that they are where the clients are."""
    tls: ssl.SSLContext | None = None
    """Spoken over TCP. One for all processes, also those that start after the files have changed."""
    plain: tuple[socket.socket, ...] = ()
    """Those of all sockets at which it is not spoken."""
    share: WorkerShare | None = None
    """Of the clients' connections, in a worker that has others beside it."""

    @property
    def all(self) -> tuple[socket.socket, ...]:
        """The sockets, whoever they are for."""
        return (*self.clients, *self.admins)

    def close(self) -> None:
        """Close them in this process."""
        for one in self.all:
            one.close()


def handed_over(environ: Mapping[str, str], pid: int) -> Listeners:
    """Return the sockets that systemd has opened for this process. Raises BadHandover."""
    if environ.get("LISTEN_PID") != str(pid):
        return Listeners()
    number = environ.get("LISTEN_FDS", "0")
    if not (number.isascii() and number.isdigit()):
        raise BadHandover(f"LISTEN_FDS is {number!r}, which is no number")
    count = int(number)
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    groups: dict[bool, list[socket.socket]] = {True: [], False: []}
    plain = []
    for index in range(count):
        one = _taken(_FIRST_HANDED_OVER + index)
        os.set_inheritable(one.fileno(), False)
        one.setblocking(False)
        name = names[index] if index < len(names) else ""
        groups[name == _ADMINS].append(one)
        plain += [one] * (name == _PLAIN)
    return Listeners(clients=tuple(groups[False]), admins=tuple(groups[True]), plain=tuple(plain))


def _taken(fd: int) -> socket.socket:
    """Return a socket that was handed over, if clients can connect to it."""
    try:
        one = socket.socket(fileno=fd)
        is_listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise BadHandover(f"file descriptor {fd} is no socket ({error.strerror})") from error
    if one.family not in _FAMILIES or one.type != socket.SOCK_STREAM or not is_listening:
        raise BadHandover(f"file descriptor {fd} is no socket that clients connect to")
    return one


def shown_address(one: socket.socket) -> str:
    """Return where a socket listens: HOST:PORT, [IPV6]:PORT, or unix:PATH."""
    name = one.getsockname()
    if not isinstance(name, tuple):
        return f"unix:{os.fsdecode(name)}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

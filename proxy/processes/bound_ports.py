"""The ports that the supervisor has bound, from one configuration to the next.

Groups of processes inherit them. A port that both configurations name stays as it is, so that
no connection is lost. One that is named no more refuses clients as soon as it is
closed here, whichever child still has it open. A new one is bound and does not
listen before a child does, so that nobody waits in vain.
"""

import contextlib
import errno
import os
import socket
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any, Self

from proxy.config.addresses import covers, join_address
from proxy.errors import ProxyError

_BACKLOG = 1024
_FIRST_FREE_PORT = 1024
_PRIVILEGED = (
    f"ports below {_FIRST_FREE_PORT} are for root and for those with the capability CAP_NET_BIND_SERVICE, "
    "which low-ports.conf gives the service"
)

Address = tuple[str, int]
"""Host and port, as a configuration names them."""


class CannotListen(ProxyError):
    """An address that cannot be bound."""

    def __init__(self, address: Address, problem: str) -> None:
        super().__init__(
            f"cannot listen on {join_address(address)}: {problem}; choose another: listen or [admin] listen "
            "in the configuration, or --listen"
        )

    @classmethod
    def of(cls, address: Address, error: OSError) -> Self:
        """Return what the system said about an address."""
        if error.errno == errno.EACCES and 0 < address[1] < _FIRST_FREE_PORT:
            return cls(address, f"{_said(error)}: {_PRIVILEGED}")
        return cls(address, _said(error))


class BoundPorts:
    """The sockets that this process has bound, by the addresses that they were bound for."""

    def __init__(self) -> None:
        self._bound: dict[Address, socket.socket] = {}

    def bind(self, addresses: Sequence[Address]) -> dict[Address, socket.socket]:
        """Return a socket for each address, those that are bound already included; no other is closed.

        A port that is bound, and not among these, may be taken in part: 127.0.0.1:8080
        beside 0.0.0.0:8080. Raises CannotListen, with none of the new ones left open.
        """
        names = {address: _resolved(address) for address in addresses}
        sockets = {address: one for address in addresses if (one := self._find(address, names[address]))}
        leaving = [one for one in self._bound.values() if one not in sockets.values()]
        bound: dict[Address, socket.socket] = {}
        try:
            for address in addresses:
                if address not in sockets:
                    bound[address] = sockets[address] = _bound(address, names[address], leaving)
            _check_apart(sockets)
        except CannotListen:
            for one in bound.values():
                one.close()
            _guard(leaving)
            raise
        self._bound |= bound
        return sockets

    def listen(self) -> None:
        """Let clients queue at all of them, before there is a child. Raises CannotListen."""
        for address, one in self._bound.items():
            try:
                one.listen(_BACKLOG)
            except OSError as error:
                raise CannotListen.of(address, error) from error

    def keep(self, sockets: Collection[socket.socket]) -> None:
        """Close all others, for every process that has them open."""
        for address, one in list(self._bound.items()):
            if one not in sockets:
                del self._bound[address]
                with contextlib.suppress(OSError):  # It did not listen yet.
                    one.shutdown(socket.SHUT_RDWR)
                one.close()
        _guard(self._bound.values())

    def let_go(self, kept: Collection[socket.socket]) -> None:
        """Close, in a child and for it alone, all but those that it is to serve."""
        for one in self._bound.values():
            if one not in kept:
                one.close()

    def _find(self, address: Address, name: Any) -> socket.socket | None:
        if not address[1]:
            return self._bound.get(address)
        return next((one for one in self._bound.values() if one.getsockname() == name), None)


def _resolved(address: Address) -> Any:
    """Return an address as the kernel names it."""
    host, port = address
    try:
        return socket.getaddrinfo(host, port, _family(host), socket.SOCK_STREAM)[0][4]
    except OSError as error:
        raise CannotListen(address, f"the name has no address here ({_said(error)})") from error


def _bound(address: Address, name: Any, leaving: Collection[socket.socket]) -> socket.socket:
    """Return a socket that is bound, beside those that are about to be closed."""
    with contextlib.ExitStack() as stack:
        try:
            one = stack.enter_context(socket.socket(_family(address[0]), socket.SOCK_STREAM))
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if one.family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            _bind_beside(one, name, leaving)
        except OSError as error:
            raise CannotListen.of(address, error) from error
        stack.pop_all()
        return one


def _bind_beside(one: socket.socket, name: Any, leaving: Collection[socket.socket]) -> None:
    try:
        one.bind(name)
    except OSError as error:
        beside = [other for other in leaving if other.getsockname()[1] == name[1]]
        if error.errno != errno.EADDRINUSE or not beside:
            raise
        for sharer in (one, *beside):
            sharer.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(name)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _check_apart(sockets: Mapping[Address, socket.socket]) -> None:
    """Raise CannotListen if two addresses are one, or one covers another."""
    for address, other in combinations(sockets, 2):
        one, two = sockets[address].getsockname()[:2], sockets[other].getsockname()[:2]
        if one == two or covers(one, two) or covers(two, one):
            raise CannotListen(other, f"it overlaps with {join_address(address)}, which is configured too")


def _guard(sockets: Collection[socket.socket]) -> None:
    """Let nobody else bind the same ports."""
    for one in sockets:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)


def _said(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)

"""The addresses by which other machines reach this one, as far as it can tell without asking anybody."""

import contextlib
import socket
from collections.abc import Iterable, Iterator

from proxy.system.ip_addresses import parse_address

_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
"""Addresses of documentation (RFC 5737, RFC 3849): nothing is sent there."""
_ALL = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
_ANY_PORT = 9


def reached_at(listening: Iterable[tuple[str, int]]) -> list[str]:
    """Return the addresses that are listened at; of all of a family, the one towards the default route."""
    found: dict[str, None] = {}
    for host, _ in listening:
        if host in _ALL:
            found |= dict.fromkeys(_of_routes(socket.AF_INET6 if ":" in host else socket.AF_INET))
        elif (address := parse_address(host)) is not None and not address.is_loopback:
            found.setdefault(str(address))
    return list(found)


def _of_routes(family: socket.AddressFamily) -> Iterator[str]:
    """Yield the address that packets to elsewhere would come from."""
    for kind, elsewhere in _ELSEWHERE:
        if kind is not family:
            continue
        with contextlib.suppress(OSError), socket.socket(kind, socket.SOCK_DGRAM) as one:
            one.connect((elsewhere, _ANY_PORT))
            own = parse_address(one.getsockname()[0])
            if own is not None and not (own.is_loopback or own.is_link_local):
                yield str(own)

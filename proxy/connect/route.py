"""By which address of this machine others reach it."""

import contextlib
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from proxy.connect.addresses import is_same_but_for_host

_PORTS = {"http": 80, "https": 443}


def address_towards(url: str) -> str | None:
    """Return this machine's address on the way to where a URL points; sends nothing. Blocks."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError):
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 80)
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, kind, protocol) as probe:
                probe.connect(address)
                found = str(probe.getsockname()[0])
                return f"[{found}]" if ":" in found else found
    return None


def addresses_of(url: str) -> set[str]:
    """Return the addresses of the machine that a URL names; none that cannot be found. Blocks."""
    parts = urlsplit(url)
    with contextlib.suppress(OSError):
        found = socket.getaddrinfo(parts.hostname or "", None, type=socket.SOCK_STREAM)
        return {str(address[0]) for *_, address in found}
    return set()


def other_names(url: str, sources: Iterable[str]) -> tuple[str, ...]:
    """Return those sources that are the tree at a URL, by another name or address of its host. Blocks."""
    alike = [one for one in sources if is_same_but_for_host(one, url)]
    here = addresses_of(url) if alike else set()
    return tuple(one for one in alike if here & addresses_of(one))


def host_name() -> str:
    """Return what this machine is called."""
    return socket.getfqdn()

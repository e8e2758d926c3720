"""One look at a page: what was asked for, and by which address. Pure."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.system.ip_addresses import parse_address

_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]+")
UNKNOWN_HOST = "THIS-HOST"
"""In place of a name that is none."""
_LONGEST_TEXT = 300
_MOST_DIGITS = 6
_LAST_PAGE = 999_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What somebody who looks at a page has asked for."""

    base: str
    """Scheme, host and port by which clients reach the mirrors from where they are."""
    query: Mapping[str, str]
    address: str = ""
    """The proxy's own address that was asked, "" if others cannot use it."""
    is_admin: bool = False
    """Whether whoever looks may know what other clients do."""

    def text(self, name: str) -> str:
        """Return a field of the query, "" when it is not given."""
        return self.query.get(name, "").strip()[:_LONGEST_TEXT]

    def choice(self, name: str, among: tuple[str, ...]) -> str:
        """Return a field that is one of these, the first of them when it is none."""
        given = self.query.get(name, "")
        return given if given in among else among[0]

    def page_number(self) -> int:
        """Return which page of a long list is asked for, from 1 on."""
        given = self.query.get("page", "")
        if not (given.isascii() and given.isdigit()):
            return 1
        return max(int(given), 1) if len(given) <= _MOST_DIGITS else _LAST_PAGE


Look = Callable[[Visit], Awaitable[dict[str, Any]]]
"""Returns the values of a page's template."""


def base_of(scheme: str, host: str, port: int | None = None) -> str:
    """Return the beginning of addresses to give to clients, by the Host header of whoever asks.

    `port` takes the place of the one asked at, where the mirrors are at another one.
    """
    name = host if _HOST.fullmatch(host) else UNKNOWN_HOST
    if port is not None:
        name = _without_port(name)
        name = f"{name}:{port}" if port else f"{name}:PORT"
    return f"{scheme}://{name}"


def usable_address(socket_name: object) -> str:
    """Return the address of a socket's own name, "" if it is none that other machines reach."""
    if not isinstance(socket_name, tuple) or not socket_name:
        return ""
    address = parse_address(str(socket_name[0]))
    if address is None or address.is_loopback or address.is_unspecified or address.is_link_local:
        return ""
    return str(address)


def by_address(scheme: str, socket_name: object, path: str) -> str:
    """Return the URL of a page by the address of a socket's own name, "" if others cannot use it."""
    address = usable_address(socket_name)
    if not address or not isinstance(socket_name, tuple):
        return ""
    host = f"[{address}]" if ":" in address else address
    return f"{scheme}://{host}:{socket_name[1]}{path}"


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0]

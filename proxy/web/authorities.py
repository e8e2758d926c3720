"""Host and port, as URLs and the Host header write them: what makes two of them the same.

Pure. Upper case, a dot at the end, the ways to write an IPv6 address, and the two ways to write letters
beyond ASCII make no difference, and neither does http or https: clients of a proxy, or of a name that
leads to one, ask by http for what is configured as https.
"""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import SplitResult

from yarl import URL

from proxy.system.ip_addresses import parse_address

_HTTP, _HTTPS = 80, 443
DEFAULT_PORTS = {"http": _HTTP, "https": _HTTPS}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[\w.~-]+)?\]|[^\s:/?#\[\]@\\<>\"'(),;{}|^`]*)(?::([0-9]{0,5}))?")
_FIELD = re.compile(
    r"(?:\[(?:([0-9A-Fa-f:.]+)(?:%[A-Za-z0-9._~-]+)?|[vV][0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]"
    r"|(?:[^\s\x00-\x1f\"#%/:<>?@\[\\\]^`{|}\x7f-\x9f\ud800-\udfff]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?"
)
_LAST_PORT = 65535
_REMEMBERED = 256
"""Clients name few hosts, again and again."""


class Authority(NamedTuple):
    """Who is asked."""

    host: str
    """In small letters, an IPv6 address without its brackets; "" for nobody."""
    port: int
    """80 also for https."""


NOBODY = Authority("", 0)


def plain(port: int) -> int:
    """Return a port, of the two default ones the first."""
    return _HTTP if port == _HTTPS else port


def of_url(url: SplitResult) -> Authority:
    """Return the authority of a URL, whatever its credentials. Raises ValueError for a port that is none."""
    return Authority(_same(url.hostname or ""), plain(url.port or DEFAULT_PORTS.get(url.scheme, 0)))


@lru_cache(_REMEMBERED)
def of_header(host: str) -> Authority:
    """Return what a Host header names; NOBODY for what is no host."""
    found = _HOST.fullmatch(host.strip())
    if found is None or not found[1] or int(found[2] or 0) > _LAST_PORT:
        return NOBODY
    return Authority(_same(found[1].strip("[]")), plain(int(found[2] or _HTTP)))


@lru_cache(_REMEMBERED)
def is_host_field(value: str) -> bool:
    """Whether a Host header may say that (RFC 9112 section 3.2), or has letters beyond ASCII as they are."""
    found = _FIELD.fullmatch(value)
    return found is not None and (found[1] is None or _is_ipv6(found[1]))


def _is_ipv6(text: str) -> bool:
    return ":" in text and parse_address(text) is not None


def _same(host: str) -> str:
    """Return a host as all who mean it are taken to write it."""
    host = host.lower().removesuffix(".")
    if ":" in host:
        return _same_address(host)
    if host.isascii():
        return host
    try:
        return (URL.build(scheme="http", host=host).raw_host or "").lower()
    except ValueError:
        return host


def _same_address(host: str) -> str:
    address = parse_address(host)
    return host if address is None else str(address)

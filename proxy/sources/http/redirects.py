"""Where an origin may send us: a guard against being used to reach private places.

Configured origins may be anywhere. Where they redirect to must be public, or
named by the configuration.
"""

import errno
import ipaddress
import socket
from collections.abc import Iterable

from aiohttp.abc import ResolveResult
from yarl import URL

from proxy.errors import ProxyError
from proxy.sources.http.names import Names

LONGEST_CHAIN = 5


class RedirectRefused(ProxyError):
    """A redirect that leads where the configuration does not allow."""


class RedirectGuard:
    """Decides which redirect targets of one mirror are followed."""

    def __init__(self, origins: Iterable[str], named_hosts: Iterable[str], *, tls_only: bool) -> None:
        self._named = {host.lower() for host in named_hosts} | {_host_and_port(URL(url)) for url in origins}
        self._tls_only = tls_only

    def is_named(self, url: URL) -> bool:
        """Whether the configuration names the host of `url`."""
        # As the configuration spells it: what is not encoded anew is not put into small letters either.
        place = _host_and_port(url).lower()
        return place in self._named or place.rpartition(":")[0] in self._named

    def check(self, url: URL) -> None:
        """Raise RedirectRefused unless `url` may be asked.

        Host names are judged when they are resolved (PublicResolver), so that
        the address judged is the address connected to.
        """
        if url.scheme not in {"http", "https"} or not url.host:
            raise RedirectRefused(f"it redirects to {str(url)!r:.200}, which is not http or https")
        if self._tls_only and url.scheme != "https":
            raise RedirectRefused("it redirects from https to http, but TLS is all that proves this mirror")
        if not self.is_named(url) and not _is_public_literal(url.host):
            raise RedirectRefused(
                f"it redirects to the private address {url.host}; "
                "name it in the mirror's redirect_hosts if that is right"
            )


class LeadsInside(OSError):
    """A name that an origin redirects to, and that has a private address."""

    def __init__(self, host: str, address: str) -> None:
        problem = (
            f"it redirects to {host}, which resolves to the private address {address}; "
            "name the host in the mirror's redirect_hosts if that is right"
        )
        super().__init__(errno.EHOSTUNREACH, problem)


class PublicResolver(Names):
    """Resolves names, and refuses those that lead to private addresses."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Resolve `host`. Raises OSError when any of its addresses is not public."""
        found = await super().resolve(host, port, family)
        for result in found:
            if not ipaddress.ip_address(result["host"]).is_global:
                raise LeadsInside(host, result["host"])
        return found


def _host_and_port(url: URL) -> str:
    return f"{url.host_subcomponent}:{url.port}"


def _is_public_literal(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        # No name consists of digits alone, but 127.1 and 2130706433 are addresses to getaddrinfo.
        return not host.replace(".", "").isdigit()

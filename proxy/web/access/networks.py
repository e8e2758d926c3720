"""Networks of addresses, as clients' addresses are held against them: IPv4 is IPv4, also in IPv6. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from proxy.mirror import EVERYBODY

_MOST_REMEMBERED = 4096


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return a peer's address without its scope; None for what is none, such as a local socket's."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


class Networks:
    """A set of networks, each written ADDRESS/BITS or ADDRESS."""

    def __init__(self, networks: Iterable[str]) -> None:
        networks = tuple(networks)
        self.is_everybody = set(EVERYBODY) <= set(networks)
        """Whether nobody is left out, not even somebody whose address is not known."""
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(map(ip_network, networks))
        self._holds = lru_cache(_MOST_REMEMBERED)(self._find)

    def hold(self, address: str) -> bool:
        """Whether a client's address is in one of them."""
        return self.is_everybody or self._holds(address)

    def _find(self, address: str) -> bool:
        found = parse_address(address)
        return found is not None and any(found in network for network in self._networks)

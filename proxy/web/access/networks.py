"""Networks of addresses, as clients' addresses are held against them: IPv4 is IPv4, also in IPv6. Pure."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network

from proxy.mirror import EVERYBODY
from proxy.system.ip_addresses import parse_address

_MOST_REMEMBERED = 4096


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

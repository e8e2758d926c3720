"""Which requests go through the site's own proxy, and which past it.

Pure. Names are compared as they are written: what does not go through the proxy
is decided before anything is resolved.
"""

import ipaddress
from collections.abc import Iterable

from yarl import URL


class ParentProxy:
    """The proxy of `[upstream] parent_proxy`, for all but what `no_proxy` names."""

    def __init__(self, url: str, no_proxy: Iterable[str]) -> None:
        self._url = url or None
        self._names: set[str] = set()
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for entry in no_proxy:
            try:
                self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
            except ValueError:
                self._names.add(entry.lower().removeprefix("*").strip("."))

    def on_the_way_to(self, url: URL) -> str | None:
        """Return the proxy's URL, None for what is asked directly."""
        return None if self._url is None or self._is_past(url) else self._url

    def _is_past(self, url: URL) -> bool:
        host = (url.host or "").rstrip(".").lower()
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            labels = host.split(".")
            above = {".".join(labels[number:]) for number in range(len(labels))}
            return bool(self._names & (above | {f"{name}:{url.port}" for name in above}))
        mapped = getattr(address, "ipv4_mapped", None) or address
        with_port = f"{url.host_subcomponent}:{url.port}"
        return with_port in self._names or any(mapped in network for network in self._networks)

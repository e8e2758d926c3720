"""Where a client on this machine finds the mirrors that are configured here."""

import platform
from collections.abc import Iterator

from proxy.config.addresses import join_address
from proxy.config.config import Config
from proxy.mirror import Mirror

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound


def own_urls(config: Config) -> Iterator[tuple[Mirror, str, str]]:
    """Yield each mirror with its URL, and the address to connect to in place of the URL's host.

    A certificate is for a name, so https is asked for by this machine's own.
    Nothing comes of an address whose port is only known to a running server.
    """
    host, port = config.addresses[0]
    if not port:
        return
    address = _LOOPBACK.get(host, host)
    is_tls = config.tls.certificate is not None
    place = join_address((platform.node() if is_tls else address, port))
    for mirror in config.mirrors:
        yield mirror, f"{'https' if is_tls else 'http'}://{place}{mirror.mount}", address

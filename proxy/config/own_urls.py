"""Where a client on this machine finds the mirrors that are configured here."""

import platform
from collections.abc import Iterator

from proxy.config.addresses import join_address
from proxy.config.config import Config
from proxy.mirror import Mirror

_LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up, not bound


def own_urls(config: Config, *, wants_tls: bool = False) -> Iterator[tuple[Mirror, str, str]]:
    """Yield each mirror with its URL, and the address to connect to in place of the URL's host.

    They are those of the first address, or of the first with TLS if that is wanted and
    there is one. A certificate is for a name, so https is asked for by this machine's own.
    An address whose port is only known to a running server is of no use.
    """
    usable = [address for address in config.addresses if address[1]]
    encrypted = [one for one in usable if _has_tls(config, one)]
    for address in ((wants_tls and encrypted) or usable)[:1]:
        host, port = _LOOPBACK.get(address[0], address[0]), address[1]
        is_tls = address in encrypted
        place = join_address((platform.node() if is_tls else host, port))
        for mirror in config.mirrors:
            yield mirror, f"{'https' if is_tls else 'http'}://{place}{mirror.mount}", host


def _has_tls(config: Config, address: tuple[str, int]) -> bool:
    return config.tls.certificate is not None and address not in config.plain_addresses

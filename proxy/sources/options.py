"""Limits of what origins are asked for, and of how long they may take."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """Limits of every exchange with an origin; times in seconds, sizes in bytes."""

    parent_proxy: str = field(default="", repr=False)
    """An HTTP proxy that all upstream requests go through; empty means none."""
    no_proxy: tuple[str, ...] = ()
    """What is asked past the parent proxy: hosts, domains with all below them, networks."""
    resolve: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses of hosts that no name server is asked for."""
    resolver: tuple[str, ...] = ()
    """Name servers that are asked in place of this machine's, as `name_server_of` reads them."""
    connect_timeout_s: float = 4.0
    """Longest wait for a connection before the next origin is tried."""
    stall_timeout_s: float = 8.0
    """Longest silence of an origin, before or within a response, until the next is tried."""
    least_rate_bytes: int = 16 * 1024
    """An origin that sends fewer bytes a second for `stall_timeout_s` is left for another, if any."""
    give_up_after_s: float = 180.0
    """A fill without a single new byte for this long fails."""
    connections: int = 128
    """Most simultaneous connections to one origin host, per worker. MAAS asks for 100 items at once,
    and gives up on those that wait for their first byte."""
    connections_per_item: int = 4
    """Most connections to one origin host for a large item that comes slowly, per worker; the items that
    are fetched there at a time share them, and each has one."""
    transfers: int = 256
    """Most items that are fetched at once, per worker, and half of that for one client; others wait."""
    background_transfers: int = 20
    """How many items a prefetch fetches at a time."""
    limit_bytes_s: int | None = None
    """Most bytes a second from all origins, in all processes on a data directory; None is no limit."""
    background_limit_bytes_s: int | None = None
    """Most of them for items that no client waits for; None is no limit."""
    document_timeout_s: float = 120.0
    """Longest time for one index or products list, however it drips in."""
    document_limit_bytes: int = 256 * 1024 * 1024
    """An index or products list larger than this is refused."""

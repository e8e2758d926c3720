"""How patient the proxy is with clients, and how many of them it bears."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientOptions:
    """Limits of every exchange with a client; times in seconds, connections for each worker."""

    keepalive_timeout_s: float = 75.0
    """A connection without a whole request for this long is closed."""
    drain_timeout_s: float = 30.0
    """Longest wait for running replies when the proxy stops."""
    stall_timeout_s: float = 300.0
    """A client that takes nothing of its reply for this long is cut off."""
    connections: int = 10_000
    """Most connections; an idle one that was silent makes room for a new one."""
    connections_per_client: int = 1_000
    """Most connections of one address, for IPv6 of one network of 64 bits."""
    remember: bool = True
    """Whether it is counted which client address asked for what, for the operator's pages."""

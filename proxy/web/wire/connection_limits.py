"""Who may be connected: bounds on the connections of one process, in all and for each client.

A connection that waits for a request costs its client nothing to lose (RFC 9112
section 9.3.1 lets either side close it), so at the limit one that was silent since
it was looked at last makes room: noting every request would cost each some of its
time. Knows nothing of requests.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from proxy.system.descriptors import most_open_files
from proxy.web.client_options import ClientOptions

_DESCRIPTORS_EACH = 3
"""Of a connection that is being sent a file: the socket, its twin for sendfile, and the file."""
_DESCRIPTORS_KEPT = 1024
"""For upstream, the ledger and everything else; half of all where there are few."""
_MOST_BUSY_LOOKED_AT = 64
_NETWORK_BITS = 64


class Closable(Protocol):
    """A connection, as far as it may be asked to leave."""

    @property
    def is_idle(self) -> bool:
        """Whether it waits for a request, or for the rest of one."""

    @property
    def heard_at_s(self) -> float:
        """When it was heard last, by any clock."""

    def leave(self) -> None:
        """Close, now."""


class ConnectionLimits:
    """The connections of this process."""

    def __init__(
        self,
        options: ClientOptions,
        met: Callable[[str], None],
        most: int | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Tell which limit was `met`, and that there are more connections or fewer."""
        self._most = options.connections if most is None else min(options.connections, most)
        self._most_of_client = options.connections_per_client
        self._met = met
        self._changed = changed
        self._connections: dict[Closable, tuple[str, float]] = {}
        """With whose they are, and when they had been heard as they were looked at, longest ago first."""
        self._of_client: Counter[str] = Counter()
        self.is_over = False
        """Whether others serve already: who comes in all the same is answered once."""

    def __len__(self) -> int:
        return len(self._connections)

    def why_not(self, address: str) -> str | None:
        """Return why a new connection of a client is refused; None when there is room, made if need be.

        Who comes by a local socket has no address, and is not counted.
        """
        client = client_of(address)
        if client and self._of_client[client] >= self._most_of_client:
            self._met("client_connections")
            return f"you already have {self._most_of_client} connections open"
        if len(self._connections) >= self._most and not self._make_room():
            self._met("connections")
            return f"all {self._most} connections that this process may have are busy"
        return None

    def enter(self, connection: Closable, address: str) -> None:
        """Take note of a connection."""
        client = client_of(address)
        self._connections[connection] = client, connection.heard_at_s
        self._of_client[client] += 1
        self._changed()

    def left(self, connection: Closable) -> None:
        """Take note that a connection is gone; telling it twice counts once."""
        client, _ = self._connections.pop(connection, (None, 0.0))
        if client is not None:
            self._of_client[client] -= 1
            if not self._of_client[client]:
                del self._of_client[client]
            self._changed()

    def _make_room(self) -> bool:
        busy = 0
        for connection, (client, heard_at_s) in list(self._connections.items()):
            if connection.is_idle and connection.heard_at_s == heard_at_s:
                self._met("idle_connections")
                self.left(connection)
                connection.leave()
                return True
            del self._connections[connection]
            self._connections[connection] = client, connection.heard_at_s
            # Busy with a long reply: the next newcomer need not look at it again.
            busy += not connection.is_idle
            if busy == _MOST_BUSY_LOOKED_AT:
                break
        return False


def client_of(address: str) -> str:
    """Return whom an address counts for: itself, or its network, of which a client has all addresses."""
    if ":" not in address:
        return address
    try:
        number = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if number.ipv4_mapped is not None:
        return str(number.ipv4_mapped)
    return str(ipaddress.IPv6Network((number, _NETWORK_BITS), strict=False))


def connections_by_descriptors() -> int:
    """Return how many connections the process has descriptors for, once it was given all that it may have."""
    return connections_by_files(most_open_files())


def connections_by_files(most_open_files: int) -> int:
    """Return for how many connections so many descriptors are enough."""
    kept = min(_DESCRIPTORS_KEPT, most_open_files // 2)
    return max(1, (most_open_files - kept) // _DESCRIPTORS_EACH)

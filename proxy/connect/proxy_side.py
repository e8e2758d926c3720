"""What the proxy itself has seen: how much of a mirror went to clients, and who they are."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from proxy.counting.client_table import Client, read_clients
from proxy.counting.totals import read_totals

_MAAS_AGENTS = ("maas/", "MAAS/")


class Served(NamedTuple):
    """What clients of a mirror got, all together."""

    requests: int = 0
    sent_bytes: int = 0
    hit_bytes: int = 0
    """Of these, what was in the store already."""
    fetched_bytes: int = 0
    """From upstream."""

    def since(self, before: "Served") -> "Served":
        """Return what came to it."""
        return Served(*(now - then for now, then in zip(self, before, strict=True)))


class ProxySide:
    """The counters of one mirror, in the data directory. Its methods block."""

    def __init__(
        self, stats: Path, mirror: str, clock: Callable[[], float], *, are_clients_remembered: bool = True
    ) -> None:
        self._are_remembered = are_clients_remembered
        self._stats = stats
        self._mirror = mirror
        self._clock = clock

    def served(self) -> Served:
        """Return what all processes have counted."""
        totals = read_totals(self._stats).mirrors[self._mirror].total()
        return Served(
            requests=sum(count for name, count in totals.items() if name.startswith("requests ")),
            sent_bytes=sum(count for name, count in totals.items() if name.startswith("sent ")),
            hit_bytes=totals["sent hit"],
            fetched_bytes=totals["fetched"],
        )

    def clients(self) -> list[Client] | None:
        """Return who has asked for this mirror, those seen last first; None if clients are not remembered."""
        if not self._are_remembered:
            return None
        return [one for one in read_clients(self._stats, self._clock()) if one.mirror == self._mirror]


def is_maas(client: Client, addresses: Collection[str]) -> bool:
    """Whether a client is a region controller: by what it says, or by its address."""
    return client.agent.startswith(_MAAS_AGENTS) or client.address in addresses

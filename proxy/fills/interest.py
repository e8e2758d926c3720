"""Who wants one fill: clients that wait for its bytes, and jobs that do without a client.

Keeps telling other processes of the clients, by the shared `Demand`. Decides nothing.
"""

from collections import Counter
from collections.abc import Callable

from proxy.digest import Digest
from proxy.fills.demand import Demand


class Interest:
    """Who wants a fill now. `clock` gives the monotonic seconds that all processes share."""

    def __init__(self, digest: Digest, demand: Demand, clock: Callable[[], float]) -> None:
        self.clients: Counter[str] = Counter()
        """By name, and how often each waits."""
        self.had_clients = False
        """Whether a client has ever waited."""
        self._jobs = 0
        self._digest = digest
        self._demand = demand
        self._clock = clock
        self._noted_at = 0.0

    def __bool__(self) -> bool:
        return bool(self.clients or self._jobs)

    def __repr__(self) -> str:
        return f"{self.clients.total()} clients, {self._jobs} jobs"

    def add(self, client: str | None) -> None:
        """Count one more who wants it: a client by name, or a job."""
        if client is None:
            self._jobs += 1
            return
        self.clients[client] += 1
        self.had_clients = True
        self.note()

    def remove(self, client: str | None) -> None:
        """Count one less."""
        if client is None:
            self._jobs -= 1
            return
        self.clients[client] -= 1
        if not self.clients[client]:
            del self.clients[client]

    def note(self) -> None:
        """Tell other processes, if clients still wait here; a note lasts for a second."""
        if self.clients:
            self._noted_at = self._clock()
            self._demand.note(self._digest, self._noted_at)

    def has_clients_anywhere(self) -> bool:
        """Whether clients wait now, here or in a process that follows this one."""
        return bool(self.clients) or self._demand.is_wanted(self._digest, self._clock())

    def has_clients_elsewhere(self) -> bool:
        """Whether clients of another process wait, and have done so since this one told of its own."""
        return self._demand.is_wanted_since(self._digest, self._noted_at, self._clock())

"""What the items of one process share when they are fetched over several connections.

Owns how many connections each item has at a host, which hosts asked for a pause or allow few
connections, which origins cannot be asked for parts, and how much memory the bytes ahead may take
in all. Asks nobody, and waits for nothing.
"""

import logging
import math
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from proxy.sources.segments.allowances import Allowances

log = logging.getLogger(__name__)

MOST_MEMORY_BYTES: Final = 128 * 1024 * 1024
"""Of all items of a process together."""
_UNFIT_FOR_S = 600.0
_LINGERS_S = 0.5
LONGEST_PAUSE_S = 3600.0
_ADVICE = "its items come over one connection for a while; its administrator may allow ranges"
_TOLD_FOR_S = 600.0
_ADVICE_ON_BRIEF = (
    "it is asked more and more rarely, and another origin first if the mirror has one; look at what lies on "
    "the way: a proxy or firewall may end its answers"
)
_ADVICE_ON_FEWER = (
    "its items come over as many connections as it allowed for a while; if it never allows more, "
    "set [upstream] connections_per_item to that"
)


class PartMeter(Protocol):
    """Counts what becomes of parts."""

    def fetched(self, count: int) -> None:
        """Count a part of which so many bytes came."""

    def given_up(self) -> None:
        """Count a further connection that was given up because it did not help."""

    def refused(self) -> None:
        """Count a further connection that an origin refused while it served others of ours."""

    def discarded(self, count: int) -> None:
        """Count bytes that came ahead, and were of no use."""


class _Uncounted:
    """Counts nothing."""

    def fetched(self, count: int) -> None:
        """Let it pass."""

    def given_up(self) -> None:
        """Let it pass."""

    def refused(self) -> None:
        """Let it pass."""

    def discarded(self, count: int) -> None:
        """Let it pass."""


class Hosts:
    """The hosts that a process fetches from. `clock` gives monotonic seconds.

    The items that are fetched from a host at a time share the connections that one of them
    alone may have: `connections_per_item`. Each has one in any case, but where the others have
    all that the host allows.
    """

    def __init__(
        self, connections_per_item: int, clock: Callable[[], float], meter: PartMeter | None = None
    ) -> None:
        self.connections_per_item = connections_per_item
        self.meter: PartMeter = meter or _Uncounted()
        self._clock = clock
        self._users: dict[str, Counter[object]] = defaultdict(Counter)
        """Which items use a host, and by how many connections."""
        self._working: dict[str, set[object]] = defaultdict(set)
        """The items of which something comes from a host."""
        self._worked_until: dict[str, float] = {}
        self._allowances = Allowances(clock)
        self._paused_until: dict[str, float] = {}
        self._unfit_until: dict[str, float] = {}
        self._brief_until: dict[str, float] = {}
        """Until when it is known that the answers of an origin end too early."""
        self._memory: dict[object, int] = {}

    def __repr__(self) -> str:
        used = {host: users.total() for host, users in self._users.items()}
        return f"Hosts({used}, {sum(self._memory.values())} bytes ahead)"

    def connected(self, host: str, item: object) -> None:
        """Count one more connection of an item."""
        self._users[host][item] += 1

    def disconnected(self, host: str, item: object) -> None:
        """Count one less."""
        users = self._users[host]
        users[item] -= 1
        if not users[item]:
            del users[item]
            if item in self._working[host]:
                self._working[host].remove(item)
                self._worked_until[host] = self._clock()
            if not self._working[host]:
                del self._working[host]
        if not users:
            del self._users[host]

    def share(self, host: str, item: object) -> int:
        """Return how many connections an item may have at a host now."""
        users: Mapping[object, int] = self._users.get(host, {})
        if item not in users and self.is_full(host):
            return 0
        if self._clock() < self._paused_until.get(host, 0.0):
            return 1
        most = self._allowances.most(host, self.connections_per_item)
        even = most // len(users.keys() | {item})
        if users.get(item, 0) > even:
            # What no even share needs stays with who has it: those are connections that work.
            spare = most - even * len(users)
            taken = sum(max(0, count - even) for one, count in users.items() if one is not item)
            even += max(0, min(users[item] - even, spare - taken))
        return max(1, even)

    def pause(self, host: str, seconds: float) -> None:
        """Note that a host asked to be asked less, for so long: each item has one connection there."""
        until = self._clock() + min(seconds, LONGEST_PAUSE_S)
        if until > self._paused_until.get(host, 0.0):
            self._paused_until[host] = until

    def is_full(self, host: str) -> bool:
        """Whether there are as many connections as a host allows, as far as it was seen to refuse more."""
        return self._connections(host) >= self._allowances.most(host, sys.maxsize)

    def works(self, host: str, item: object) -> None:
        """Note that bytes of an item come from a host, over a connection that is counted."""
        self._working[host].add(item)

    def has_worked(self, host: str, within_s: float) -> bool:
        """Whether any item came from a host in the last so many seconds.

        A host may count a connection for a moment after it was closed.
        """
        worked_until = self._worked_until.get(host, -math.inf)
        return host in self._working or self._clock() - worked_until <= within_s + _LINGERS_S

    def serves_others(self, host: str, item: object) -> bool:
        """Whether other items have connections to a host."""
        return bool(self._users[host].keys() - {item}) if host in self._users else False

    def note_worked(self, host: str, connections: int) -> None:
        """Note that so many connections to a host have brought something at the same time."""
        self._allowances.worked(host, connections)

    def note_refused(self, host: str, path: str, problem: str, *, is_plain: bool = True) -> None:
        """Note that a host refused one connection more than there are, while it serves those.

        It is not asked for as many again for a while, and the log says so, unless it may have been chance.
        """
        self.meter.refused()
        found = self._allowances.refused(host, max(1, self._connections(host)), is_plain=is_plain)
        if found is not None:
            log.warning(
                "origin.fewer_connections host=%s connections=%d seconds=%d path=%s problem=%s advice=%s",
                host,
                found.connections,
                found.rest_s,
                path,
                problem,
                _ADVICE_ON_FEWER,
            )

    def is_unfit(self, origin: str) -> bool:
        """Whether an origin could not be asked for parts a short while ago."""
        return self._clock() < self._unfit_until.get(origin, 0.0)

    def note_unfit(self, origin: str, path: str, problem: str) -> None:
        """Note that an origin cannot be asked for parts, and say so in the log, once."""
        if not self.is_unfit(origin):
            self._unfit_until[origin] = self._clock() + _UNFIT_FOR_S
            log.warning(
                "origin.no_parts origin=%s path=%s problem=%s advice=%s", origin, path, problem, _ADVICE
            )

    def note_brief(self, origin: str, path: str, count: int, problem: str) -> None:
        """Note that answers of an origin end after so few bytes, and say so in the log, once."""
        if self._clock() >= self._brief_until.get(origin, 0.0):
            log.warning(
                "origin.brief_answers origin=%s path=%s bytes=%d problem=%s advice=%s",
                origin,
                path,
                count,
                problem,
                _ADVICE_ON_BRIEF,
            )
        self._brief_until[origin] = self._clock() + _TOLD_FOR_S

    def free_memory_bytes(self, item: object) -> int:
        """Return how much memory the bytes ahead of an item may take, besides those of all others."""
        others = sum(held for one, held in self._memory.items() if one is not item)
        return max(0, MOST_MEMORY_BYTES - others)

    def _connections(self, host: str) -> int:
        return self._users[host].total() if host in self._users else 0

    def hold_memory(self, item: object, count: int) -> None:
        """Note how much memory the bytes ahead of an item take now."""
        if count:
            self._memory[item] = count
        else:
            self._memory.pop(item, None)

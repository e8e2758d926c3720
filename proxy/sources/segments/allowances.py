"""How many connections at a time a host allows, as far as it was seen to refuse more.

Remembers it for a while: a host that refused one is not asked for as many again at once, and later
and later each time. Knows no items, and asks nobody.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Final, NamedTuple

FIRST_REST_S: Final = 15.0
LONGEST_REST_S: Final = 600.0
_ACCIDENT_REST_S = 0.5
"""A host that served more before may still count a connection that was closed just now; and one answer that
failed may be chance."""


class Allowance(NamedTuple):
    """What one host allows."""

    connections: int
    until: float
    """When more of them are tried again."""
    rest_s: float


class Allowances:
    """What each host allows. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lasting: dict[str, Allowance] = {}
        self._passing: dict[str, Allowance] = {}
        """Of hosts that may serve more at once: they have before, or failed only once."""
        self._worked: dict[str, int] = defaultdict(int)
        """How many connections at a time have worked."""

    def most(self, host: str, usual: int) -> int:
        """Return how many connections to a host there may be now, of those that there usually may."""
        now, known = self._clock(), (self._lasting.get(host), self._passing.get(host))
        return min([usual, *(one.connections for one in known if one is not None and now < one.until)])

    def worked(self, host: str, connections: int) -> None:
        """Note that so many connections to a host have brought something at the same time."""
        self._worked[host] = max(self._worked[host], connections)
        for known in (self._lasting, self._passing):
            if host in known and connections > known[host].connections:
                del known[host]

    def refused(self, host: str, connections: int, *, is_plain: bool) -> Allowance | None:
        """Note that a host refused one more than so many connections; return what is known now.

        None is what it was before, or what is likely to pass. `is_plain` says that it was no chance failure.
        """
        if connections >= self._worked[host] and (is_plain or self._has_failed(host)):
            return self._note(self._lasting, host, connections, FIRST_REST_S)
        found = self._note(self._passing, host, connections, _ACCIDENT_REST_S)
        if found is None or found.rest_s < FIRST_REST_S:
            return None
        self._worked[host] = connections
        return found

    def _has_failed(self, host: str) -> bool:
        """Whether it has failed not long ago, and been asked again since."""
        before = self._passing.get(host)
        return before is not None and 0 <= self._clock() - before.until < LONGEST_REST_S

    def _note(
        self, known: dict[str, Allowance], host: str, connections: int, first_rest_s: float
    ) -> Allowance | None:
        now, before = self._clock(), known.get(host)
        if before is None or now >= before.until + LONGEST_REST_S:
            rest_s = first_rest_s
        elif now >= before.until:
            rest_s = min(2 * before.rest_s, LONGEST_REST_S)
        elif connections < before.connections:
            rest_s = before.rest_s
        else:
            return None  # It was asked before the other one was refused.
        known[host] = Allowance(connections, now + rest_s, rest_s)
        return known[host]

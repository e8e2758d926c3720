"""At which origins an item's connections are, and in which order further ones are tried.

Knows which origins failed to send parts, and where further connections were in vain. Opens none.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import zip_longest

from proxy.sources.candidates import Candidate
from proxy.sources.segments.hosts import Hosts

_MOST_CONNECTIONS = 8
"""Of one item, to all origins together."""
_MOST_FAILURES = 2


class Seats:
    """The connections that one item, the `holder` of shares of its hosts, may have.

    `able` returns the origins whose bytes may be used now, the best first.
    """

    def __init__(self, hosts: Hosts, holder: object, able: Callable[[], Sequence[Candidate]]) -> None:
        self._hosts = hosts
        self._holder = holder
        self._able = able
        self._failures: Counter[Candidate] = Counter()
        self._most_at: dict[Candidate, int] = {}
        """How many connections to an origin are worth it, where more were tried in vain."""

    def in_turn(self) -> list[Candidate]:
        """Return the origin of each connection that there may be, in the order in which they are tried."""
        taken: Counter[str] = Counter()
        of_each: list[list[Candidate]] = []
        for candidate in filter(self._is_fit, self._able()):
            host = candidate.origin.host
            most = self._hosts.share(host, self._holder) - taken[host]
            most = min(most, self._most_at.get(candidate, most))
            taken[host] += most
            of_each.append([candidate] * most)
        # One at each first: what limits one origin is no limit for another.
        return [one for turn in zip_longest(*of_each) for one in turn if one is not None][:_MOST_CONNECTIONS]

    def was_in_vain(self, connections: int) -> None:
        """Take note that a connection more than so many did not help."""
        seats = self.in_turn()
        if connections < len(seats):
            candidate = seats[connections]
            self._most_at[candidate] = seats[:connections].count(candidate)

    def try_again(self) -> None:
        """Forget where further connections were in vain."""
        self._most_at.clear()

    def failed(self, candidate: Candidate) -> None:
        """Take note that an origin failed to send a part."""
        self._failures[candidate] += 1

    def worked(self, candidate: Candidate) -> None:
        """Take note that an origin has sent much of a part."""
        self._failures.pop(candidate, None)

    def _is_fit(self, candidate: Candidate) -> bool:
        return (
            bool(candidate.origin.host)
            and self._failures[candidate] < _MOST_FAILURES
            and not self._hosts.is_unfit(candidate.origin.name)
        )

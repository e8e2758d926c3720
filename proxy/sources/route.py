"""The origins of one mirror, in the order in which they are tried."""

from collections.abc import Callable, Sequence

from proxy.sources.origin import Origin

_FIRST_PENALTY_S = 5.0
_LONGEST_PENALTY_S = 300.0
_MOST_DOUBLINGS = 10
DISTRUST_S = 900.0
"""How long an origin that sent wrong bytes is asked last."""


class Route:
    """Orders a mirror's origins: those that failed lately are tried last, but not left out."""

    def __init__(
        self,
        origins: Sequence[Origin],
        clock: Callable[[], float],
        *,
        is_spread: bool = False,
        is_joined: bool = True,
    ) -> None:
        self._origins = tuple(origins)
        self._is_spread = is_spread
        self.is_joined = is_joined
        """Whether those after the first may give parts of an item that the first is slow to give."""
        self._clock = clock
        self._failures: dict[Origin, int] = {}
        self._penalised_until: dict[Origin, float] = {}
        self._distrusted_until: dict[Origin, float] = {}

    def __len__(self) -> int:
        return len(self._origins)

    @property
    def names(self) -> tuple[str, ...]:
        """The origins' names, as configured."""
        return tuple(origin.name for origin in self._origins)

    def order(self, turn: int = 0) -> list[Origin]:
        """Return all origins: those without a penalty as configured, then the others.

        Where origins are used alike, each turn begins with another one.
        """
        now = self._clock()
        first = turn % len(self._origins) if self._is_spread else 0
        origins = (*self._origins[first:], *self._origins[:first])
        return sorted(origins, key=lambda origin: max(0.0, self._penalty_ends_at(origin) - now))

    def worked(self, origin: Origin) -> None:
        """Note that an origin delivered."""
        self._failures.pop(origin, None)
        self._penalised_until.pop(origin, None)

    def failed(self, origin: Origin) -> None:
        """Note that an origin failed; each failure in a row doubles how long it is tried last."""
        failures = self._failures[origin] = self._failures.get(origin, 0) + 1
        doublings = min(failures - 1, _MOST_DOUBLINGS)
        penalty_s = min(_FIRST_PENALTY_S * 2**doublings, _LONGEST_PENALTY_S)
        self._penalised_until[origin] = self._clock() + penalty_s

    def sent_wrong_bytes(self, name: str, distrust_s: float = DISTRUST_S) -> None:
        """Note that the origin of that name sent wrong bytes; right bytes do not make up for it."""
        for origin in self._origins:
            if origin.name == name:
                self._distrusted_until[origin] = self._clock() + distrust_s

    def _penalty_ends_at(self, origin: Origin) -> float:
        return max(self._penalised_until.get(origin, 0.0), self._distrusted_until.get(origin, 0.0))

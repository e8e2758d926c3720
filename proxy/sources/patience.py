"""How long the origins of one item are asked on: how they have failed since the last byte came.

Knows no origin, and waits for nothing. `clock` gives monotonic seconds.
"""

from collections.abc import Callable
from random import Random

from proxy.sources.backoff import pauses_s
from proxy.sources.errors import OriginError

_WORTH_ASKING_BYTES = 64 * 1024
"""Who brings less than that before it breaks off is asked again as rarely as one that brings nothing."""


class Patience:
    """What speaks against asking on for one item, whose bytes come in order from `position` on."""

    def __init__(self, clock: Callable[[], float], random: Random, position: int) -> None:
        self._clock = clock
        self._random = random
        self._silent_since = clock()
        self._position = position
        """Where the last failure was."""
        self._pauses = pauses_s(random)
        self.last: OriginError | None = None
        self.failed_tries = 0
        """How often they have failed since the last byte came."""
        self.poor_tries = 0
        """How often they have failed in a row, and hardly anything came in between."""

    def came(self) -> None:
        """Take note that bytes came, and that the next ones are waited for from now on."""
        self._silent_since = self._clock()
        self.failed_tries = 0

    def failed(self, error: OriginError, position: int, *, has_begun: bool) -> None:
        """Take note that an origin failed at a position, which may have sent something before."""
        self.last = error
        self.failed_tries += not has_begun
        if position - self._position >= _WORTH_ASKING_BYTES:
            self.poor_tries = 0
            self._pauses = pauses_s(self._random)
        else:
            self.poor_tries += 1
        self._position = position

    @property
    def silence_s(self) -> float:
        """How long the next byte has been waited for."""
        return self._clock() - self._silent_since

    def next_pause_s(self) -> float:
        """Return how long to wait before all are asked once more."""
        return next(self._pauses)

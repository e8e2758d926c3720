"""Whether the one connection of an item is slow, and its origin is why. Pure: the caller brings the time."""

import math

from proxy.sources.segments.window import LEAST_BYTES

LEAST_LEFT_BYTES = 8 * LEAST_BYTES
"""Less than this is fetched over the connection that is there."""
_LOOK_AFTER_S = 0.1
_LOOK_EVERY_S = 1.0
_SOON_S = 1.0
"""Who will have all within that time needs no further connection."""
_FAST_BYTES = 64 * 1024 * 1024
"""A second: a connection of that rate is not what things wait for."""
_LEAST_WAITING_SHARE = 0.5
"""Who waits for the origin less than this has no use for more from it."""


def comes_soon(left_bytes: int, rate_bytes: float) -> bool:
    """Whether the rest comes so soon, at so many bytes a second, that a further connection is no use."""
    return left_bytes <= rate_bytes * _SOON_S


class SlownessCheck:
    """Looks at the one connection that there is, again and again."""

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._looked_at: tuple[float, int, float] | None = None
        self._look_at = math.inf

    def restart(self) -> None:
        """Forget what was seen: another connection begins."""
        self._looked_at = None

    def slow_rate(self, now: float, total_bytes: int, waited_s: float, left_bytes: int) -> float | None:
        """Return how many bytes a second come, if that is slow; else, and between two looks, None.

        `total_bytes` have come in all, and since the last call the origin was waited for so long.
        """
        self._waited_s += waited_s
        if self._looked_at is None:
            self._look_again(now, total_bytes, _LOOK_AFTER_S)
            return None
        if now < self._look_at:
            return None
        before_s, before_bytes, before_waited_s = self._looked_at
        seconds = now - before_s
        rate_bytes = (total_bytes - before_bytes) / seconds
        waited_share = (self._waited_s - before_waited_s) / seconds
        self._look_again(now, total_bytes, _LOOK_EVERY_S)
        is_slow = (
            left_bytes >= LEAST_LEFT_BYTES
            and not comes_soon(left_bytes, rate_bytes)
            and rate_bytes < _FAST_BYTES
            and waited_share >= _LEAST_WAITING_SHARE
        )
        return rate_bytes if is_slow else None

    def _look_again(self, now: float, total_bytes: int, seconds: float) -> None:
        self._looked_at = now, total_bytes, self._waited_s
        self._look_at = now + seconds

"""A cap on bytes a second, shared by all who take from it."""

import asyncio
from collections.abc import Callable


class TokenBucket:
    """Lets `rate_bytes_s` bytes pass a second, with bursts of up to a quarter of that."""

    def __init__(self, rate_bytes_s: float, clock: Callable[[], float]) -> None:
        self._rate_bytes_s = rate_bytes_s
        self._clock = clock
        self._burst_bytes = rate_bytes_s / 4
        self._left_bytes = self._burst_bytes
        self._filled_at = clock()

    async def take(self, count: int) -> None:
        """Take bytes that have passed; wait while too many have."""
        now = self._clock()
        earned = (now - self._filled_at) * self._rate_bytes_s
        self._left_bytes = min(self._burst_bytes, self._left_bytes + earned) - count
        self._filled_at = now
        if self._left_bytes < 0:
            await asyncio.sleep(-self._left_bytes / self._rate_bytes_s)

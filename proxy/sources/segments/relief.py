"""Waiting for the next piece of a main transfer, which may be ended while it is waited for.

As long as it is silent, nothing else would end it before the stall timeout. Knows not why it is ended.
"""

import asyncio
from collections.abc import AsyncGenerator

from proxy.sources.origin import Piece


class Relief:
    """The wait for one piece after the other, and its end."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._wait: asyncio.Timeout | None = None
        self._began_at = 0.0

    @property
    def waited_s(self) -> float:
        """How long the next piece has been waited for; 0 while it is not."""
        return 0.0 if self._wait is None else self._clock() - self._began_at

    async def next_of(self, pieces: AsyncGenerator[Piece, None]) -> Piece | None:
        """Return the next piece; None at the end, or when the wait was ended."""
        self._began_at = self._clock()
        try:
            async with asyncio.timeout(None) as wait:
                self._wait = wait
                return await anext(pieces, None)
        except TimeoutError:
            if not wait.expired():
                raise
            return None
        finally:
            self._wait = None

    def end(self) -> None:
        """End the wait, if there is one."""
        if self._wait is not None:
            self._wait.reschedule(self._clock())
            self._wait = None

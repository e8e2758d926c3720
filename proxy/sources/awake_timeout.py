"""Timeouts that count only time in which our own event loop ran.

When a machine is overloaded, or a process is stopped for a while, an event loop wakes late: its
timers are due, and what has arrived in the meantime still lies unread in the sockets. Such a
time-out says nothing about the other side. So the time is divided into steps, lateness of a
step is not counted, and after a late last step the loop gets the chance to read once more.

Knows nothing of origins or HTTP.
"""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

_STEPS = 4
_NOTABLE_S = 0.01
_MOST_LOOKS = 4
"""How often a loop that is late again and again is given time to read."""


class AwakeTimer:
    """Calls `ended` once, after so many seconds in which the loop ran, unless it is stopped before."""

    def __init__(self, seconds: float, ended: Callable[[], None]) -> None:
        self._seconds = seconds
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._left_s = seconds
        """Beyond the present step."""
        self._step_s = 0.0
        self._due = 0.0
        """When the present step ends."""
        self._timer: asyncio.TimerHandle | None = None
        self._looks = _MOST_LOOKS
        self._is_over = False
        self._late_s = 0.0
        self._begin_step()

    @property
    def late_s(self) -> float:
        """How long the loop has stood still meanwhile, as far as that was noticed."""
        pending_s = 0.0 if self._timer is None else max(0.0, self._loop.time() - self._due)
        return self._late_s + pending_s

    def pause(self) -> None:
        """Stop counting."""
        if self._timer is not None:
            self._left_s += min(self._step_s, max(0.0, self._due - self._loop.time()))
            self._cancel()

    def resume(self) -> None:
        """Go on counting after a pause."""
        if self._timer is None:
            self._begin_step()

    def restart(self) -> None:
        """Count from zero again."""
        self._cancel()
        self._left_s = self._seconds
        self._begin_step()

    def stop(self) -> None:
        """End without a call."""
        self._late_s = self.late_s
        self._is_over = True
        self._cancel()

    def _begin_step(self) -> None:
        if self._is_over:
            return
        self._step_s = min(self._seconds / _STEPS, self._left_s)
        self._left_s -= self._step_s
        self._due = self._loop.time() + self._step_s
        self._timer = self._loop.call_at(self._due, self._end_step)

    def _end_step(self) -> None:
        self._timer = None
        late_s = max(0.0, self._loop.time() - self._due)
        self._late_s += late_s
        if self._left_s <= 0 and late_s >= _NOTABLE_S and self._looks:
            self._looks -= 1
            self._left_s = min(late_s, self._seconds / _STEPS)
        if self._left_s > 0:
            self._begin_step()
        else:
            self._is_over = True
            self._ended()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class AwakeTimeout:
    """Limits what is done within `async with` to so many seconds. Raises TimeoutError as asyncio.timeout."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._timeout = asyncio.timeout(None)

    @property
    def late_s(self) -> float:
        """How long our loop has stood still within it, as far as that was noticed."""
        return self._timer.late_s

    def pause(self) -> None:
        """Stop counting."""
        self._timer.pause()

    def resume(self) -> None:
        """Go on counting after a pause."""
        self._timer.resume()

    def restart(self) -> None:
        """Count from zero again."""
        self._timer.restart()

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        self._timer = AwakeTimer(self._seconds, self._end)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.stop()
        await self._timeout.__aexit__(kind, error, trace)

    def _end(self) -> None:
        self._timeout.reschedule(asyncio.get_running_loop().time())

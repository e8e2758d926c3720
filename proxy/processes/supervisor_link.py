"""What ties a child process to its supervisor: learning when to stop, telling that it lives."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from enum import Enum, auto

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)

_BEAT_EVERY_S = 1.0


class Haste(Enum):
    """How soon a child must be gone."""

    SOON = auto()
    """Replies that run get the configured time to end."""
    PATIENT = auto()
    """Others serve already: replies that run may take as long as they take."""


class SupervisorLink:
    """A child's end of the link."""

    def __init__(self, supervisor: int, tell: Callable[[], None]) -> None:
        self._supervisor = supervisor
        """A pipe that ends with the supervisor."""
        self._tell = tell
        self._told = asyncio.Event()
        self._haste = Haste.SOON

    @contextlib.asynccontextmanager
    async def held(self) -> AsyncIterator["SupervisorLink"]:
        """Listen for SIGTERM, SIGINT, SIGUSR1 and the end of the supervisor."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            haste = Haste.PATIENT if number == signal.SIGUSR1 else Haste.SOON
            loop.add_signal_handler(number, self._stop, haste)
        loop.add_reader(self._supervisor, self._stop, Haste.SOON)
        try:
            yield self
        finally:
            loop.remove_reader(self._supervisor)

    async def told_to_stop(self) -> Haste:
        """Tell that this child is ready, and again and again that it lives; return when it must stop."""
        while not self._told.is_set():
            self._tell()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_BEAT_EVERY_S):
                    await self._told.wait()
        return self._haste

    async def hastened(self) -> None:
        """Return when patience has ended: somebody wants all to stop after all."""
        while self._haste is Haste.PATIENT:
            self._told.clear()
            await self._told.wait()

    def _stop(self, haste: Haste) -> None:
        if haste is Haste.SOON:
            # A pipe that has ended is readable for ever.
            asyncio.get_running_loop().remove_reader(self._supervisor)
        self._haste = haste
        self._told.set()

"""What those who wait for a fill see of it: its state, how much may be read, from which file, and news.

The roles of the fill write here; clients and jobs read. The state changes by
`enter` and `end` only, along the table in `state.py`.
"""

import asyncio
import contextlib
import os

from proxy.errors import ProxyError
from proxy.fills.state import ROLES, State, step
from proxy.readable import size
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault
from proxy.store.protocols import Partial


class Progress:
    """How far one fill is, and where its bytes can be read."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.state = State.QUEUED
        self.role: State | None = None
        """LEADING or FOLLOWING, whichever it was last."""
        self.filled_bytes = 0
        self.error: ProxyError | None = None
        """Why the fill ended without its blob."""
        self.trouble: str | None = None
        """Why no origin can be reached at the moment, as far as this process knows."""
        self.file: Partial | None = None
        """The growing file, or the committed blob."""
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        done = f"{size(self.filled_bytes)} of {size(self.item.size_bytes)}"
        problem = "" if self.error is None else f", {self.error}"
        return f"{self.item.digest[:12]} {self.state.value}, {done}{problem}"

    async def changed(self, until: float | None = None) -> None:
        """Return at the next news, or at a moment of the event loop's clock."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._news.wait()

    def enter(self, state: State) -> None:
        """Go on to the next state. Raises IllegalStep."""
        self.state = step(self.state, state)
        if state in ROLES:
            self.role = state
        if state.is_proved:
            self._tell()

    def end(self, state: State, error: ProxyError) -> None:
        """End without the blob, FAILED or STOPPED. Raises IllegalStep."""
        self.error = error
        self.state = step(self.state, state)
        self._tell()

    def report(self, filled_bytes: int) -> None:
        """Let clients read so many bytes."""
        if filled_bytes != self.filled_bytes:
            self.filled_bytes = filled_bytes
            self.trouble = None
            self._tell()

    def prove(self) -> None:
        """Let clients have the end too."""
        if not self.state.is_proved and self.file is not None:
            self.enter(State.PROVED)

    def note_trouble(self, problem: str) -> None:
        """Tell clients that no origin can be reached for now."""
        self.trouble = problem
        self._tell()

    def open_file(self) -> int:
        """Return a descriptor of the file for one reader. Raises the fill's error, or StoreFault."""
        if self.error is not None:
            raise self.error
        if self.file is None or self.file.fd < 0:
            raise StoreFault("its file is closed")
        return os.dup(self.file.fd)

    def keep_file(self) -> bool:
        """Protect the committed blob from removal while it is read; False while its writer commits it."""
        return self.file is None or self.file.keep()

    def close_file(self) -> None:
        """Let go of the file; readers keep their own descriptors."""
        if self.file is not None:
            self.file.close()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

"""Signs of life of those who fetch: how a leader gives them, and when followers take it for stopped.

A process that is stopped (ctrl-Z), or hangs, keeps the lock of its file for as long as it exists, so
nobody could take over. Owns how long that is waited for. Bytes that arrive are signs of life too.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from proxy.digest import Digest
from proxy.store.protocols import Incoming
from proxy.system.threads import Threads

_SIGN_EVERY_S = 1.0
_SILENT_AFTER_S = 5.0
"""Much longer than an event loop is late on a machine that is very busy."""
_MOST_COUNTED_S = 0.1
"""For each look: while whoever follows was stopped itself, it has heard nothing of anybody."""
_MOST_KNOWN = 1000


@contextlib.asynccontextmanager
async def signs_of_life(incoming: Incoming, threads: Threads) -> AsyncIterator[None]:
    """Let those who follow a file see that its writer lives, whether or not bytes arrive."""
    task = asyncio.create_task(_give_signs(incoming, threads), name="signs of life")
    try:
        yield
    finally:
        task.cancel()


async def _give_signs(incoming: Incoming, threads: Threads) -> None:
    while True:
        await asyncio.sleep(_SIGN_EVERY_S)
        await threads.sign(incoming.touch)


@dataclass(frozen=True, slots=True)
class Silences:
    """The last signs of leaders that were taken for stopped, so that who comes later need not wait."""

    after_s: float = _SILENT_AFTER_S
    clock: Callable[[], float] = time.monotonic
    known: dict[Digest, int] = field(default_factory=dict)

    def note(self, digest: Digest, sign: int) -> None:
        """Take note that nothing came after a sign."""
        if len(self.known) >= _MOST_KNOWN:
            self.known.clear()
        self.known[digest] = sign


class Silence:
    """How long the leader of one item has given no sign of life, as one follower sees it."""

    def __init__(self, digest: Digest, silences: Silences) -> None:
        self._digest = digest
        self._silences = silences
        self._sign: int | None = None
        self._looked_at = silences.clock()
        self._lasted_s = 0.0

    def is_too_long(self, sign: int) -> bool:
        """Take note of the leader's latest sign, and say whether it must be taken for stopped."""
        now = self._silences.clock()
        passed_s, self._looked_at = now - self._looked_at, now
        if self._silences.known.get(self._digest) == sign:
            return True
        if sign != self._sign:
            self._sign, self._lasted_s = sign, 0.0
            return False
        self._lasted_s += min(passed_s, _MOST_COUNTED_S)
        if self._lasted_s < self._silences.after_s:
            return False
        self._silences.note(self._digest, sign)
        return True

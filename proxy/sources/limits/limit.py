"""One limit as the transfers of a process see it: they wait in line, and one asks for all of them.

Of those that wait the highest priority comes first; within it each transfer gets a chunk in turn.
"""

import asyncio
from collections import deque
from typing import Protocol

from proxy.sources.limits.flow import Flow
from proxy.sources.limits.priority import Priority
from proxy.sources.limits.state import Rules, Taken

_PATIENCE_S = 5.0
"""After so long the background counts as a client once, so that no origin hangs up."""


class Purse(Protocol):
    """Where bytes come from."""

    @property
    def rate_bytes_s(self) -> float:
        """The limit in bytes a second."""

    def take(self, priority: Priority, waiting: int) -> Taken:
        """Take bytes now, for a process so many of whose transfers wait; none until it may."""


class _Waiter:
    """One connection of a flow that waits."""

    def __init__(self, most_bytes: int, loop: asyncio.AbstractEventLoop) -> None:
        self.most_bytes = most_bytes
        self.since = loop.time()
        self.granted: asyncio.Future[int] = loop.create_future()


class Limit:
    """A limit of bytes a second for all transfers of this process."""

    def __init__(self, purse: Purse) -> None:
        self._purse = purse
        self.rules = Rules.of(purse.rate_bytes_s)
        self._lines: dict[Flow, deque[_Waiter]] = {}
        """In the order in which the flows are served."""
        self._left_bytes = 0
        """Of the latest chunk."""
        self._timer: asyncio.Handle | None = None
        """When those that wait are served next."""
        self._awaited = Priority.DOCUMENT
        """Who is served then: for whoever comes before that, there may be bytes now."""

    def __repr__(self) -> str:
        waiting = [f"{flow.priority().name} {len(line)}" for flow, line in self._lines.items()]
        return f"Limit({self.rules.rate_bytes_s:.0f} bytes/s; waiting: {waiting})"

    def take_now(self, most_bytes: int, flow: Flow) -> int:
        """Return how many bytes a flow may receive without waiting; 0 when others wait or it must."""
        if self._lines:
            return 0
        if not self._left_bytes:
            self._left_bytes = self._purse.take(flow.priority(), 1).size_bytes
        return self._spend(most_bytes)

    async def take(self, most_bytes: int, flow: Flow) -> int:
        """Return how many bytes a flow may receive, at least one, once it may."""
        loop = asyncio.get_running_loop()
        waiter = _Waiter(most_bytes, loop)
        line = self._lines.setdefault(flow, deque())
        line.append(waiter)
        if self._timer is None or flow.priority() < self._awaited:
            self._serve_soon(loop)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled():
                self.give_back(waiter.granted.result())
            else:
                self._leave(flow, waiter)
            raise

    def give_back(self, count: int) -> None:
        """Take back what was granted and not received, for others here; no more than comes at once anyway."""
        most_bytes = max(self._left_bytes, int(self.rules.most_credit_bytes))
        self._left_bytes = min(self._left_bytes + count, most_bytes)

    def close(self) -> None:
        """Serve nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _serve_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._awaited = Priority.DOCUMENT
        self._timer = loop.call_soon(self._serve)

    def _serve(self) -> None:
        """Grant what may be received now, and come back when there is more."""
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._lines:
            now = loop.time()
            ranks = {flow: self._rank(flow, line[0], now) for flow, line in self._lines.items()}
            first = min(ranks.values())
            if not self._left_bytes:
                taken = self._purse.take(first, sum(rank == first for rank in ranks.values()))
                if not taken.size_bytes:
                    self._awaited = first
                    self._timer = loop.call_later(taken.wait_s, self._serve)
                    return
                self._left_bytes = taken.size_bytes
            flow = next(flow for flow, rank in ranks.items() if rank == first)
            line = self._lines.pop(flow)
            waiter = line.popleft()
            if line:
                self._lines[flow] = line
            if not waiter.granted.done():  # It may have been cancelled just now.
                waiter.granted.set_result(self._spend(waiter.most_bytes))

    def _rank(self, flow: Flow, waiter: _Waiter, now: float) -> Priority:
        priority = flow.priority()
        if priority is Priority.BACKGROUND and now - waiter.since >= _PATIENCE_S:
            return Priority.CLIENT
        return priority

    def _spend(self, most_bytes: int) -> int:
        count = min(most_bytes, self._left_bytes, self.rules.chunk_bytes)
        self._left_bytes -= count
        return count

    def _leave(self, flow: Flow, waiter: _Waiter) -> None:
        line = self._lines.get(flow)
        if line is not None and waiter in line:
            line.remove(waiter)
            if not line:
                del self._lines[flow]

"""Which transfers may run: a bound for this process, and a queue before it.

A transfer takes its place before it opens a file or asks an origin, and keeps it
to its end, even if its clients leave. No client has more than half of the places,
nor of the queue, and the client with the fewest places is next; jobs come last.
A transfer that nobody waits for any more goes on as long as no other needs its place.
Knows nothing of what is transferred.
"""

import asyncio
from collections import Counter
from typing import Protocol

from proxy.errors import ProxyError

_WAITING_FOR_EACH_PLACE = 4
_IDLE_SHARE = 4
"""Of so many places one may be a transfer's that nobody waits for."""
_FILES_FOR_EACH_PLACE = 16
"""A transfer has four open; three quarters are left to clients and everything else."""
_FEWEST_PLACES = 4

_JOBS = None
"""In place of a client's name, for who works without one."""


class TooManyTransfers(ProxyError):
    """More transfers are asked for than may run, or wait."""


class Transfer(Protocol):
    """A transfer, as far as its place goes."""

    @property
    def left_bytes(self) -> int:
        """How much is still to come."""

    @property
    def is_dispensable(self) -> bool:
        """Whether nobody would miss it now."""

    def let_go(self) -> None:
        """End soon, and give the place back."""


class Figures(Protocol):
    """Tells other processes how many there are."""

    def note(self, running: int, waiting: int) -> None:
        """Take note of how many transfers run and wait now."""

    def turned_away(self) -> None:
        """Count one that could not even wait."""


class Places:
    """The places of this process."""

    def __init__(self, most: int, longest_wait_s: float, figures: Figures) -> None:
        self.most = most
        self._longest_wait_s = longest_wait_s
        self._figures = figures
        self._holders: dict[Transfer, str | None] = {}
        """Whom each place counts for."""
        self._held: Counter[str | None] = Counter()
        self._queues: dict[str | None, dict[Transfer, asyncio.Future[None]]] = {}
        """Who waits, by whom it counts for, in order of arrival."""
        self._waiting: dict[Transfer, str | None] = {}
        self._idle: set[Transfer] = set()
        self._leaving: set[Transfer] = set()

    def __repr__(self) -> str:
        return f"Places({len(self._holders)} of {self.most} taken, {len(self._waiting)} waiting)"

    async def take(self, transfer: Transfer, client: str | None = _JOBS) -> None:
        """Return when a transfer has a place, counted for a client or a job.

        Raises TooManyTransfers, but not for a job. `give_back` is to be called in the end in any case.
        """
        if client is not _JOBS:
            self._check_queue(client)
        admitted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(transfer, client, admitted)
        self._admit()
        self._make_room()
        self._tell()
        try:
            async with asyncio.timeout(None if client is _JOBS else self._longest_wait_s):
                await admitted
        except TimeoutError:
            self._figures.turned_away()
            problem = f"no place for a transfer became free in {self._longest_wait_s:g} s; try again later"
            raise TooManyTransfers(problem) from None

    def give_back(self, transfer: Transfer) -> None:
        """Let another have a transfer's place, or its place in the queue. Twice does no harm."""
        self._dequeue(transfer)
        self._idle.discard(transfer)
        self._leaving.discard(transfer)
        if transfer in self._holders:
            self._held[self._holders.pop(transfer)] -= 1
            self._admit()
        self._tell()

    def wanted(self, transfer: Transfer, client: str) -> None:
        """Take note that a client wants a transfer that is here already."""
        self._idle.discard(transfer)
        known = self._waiting.get(transfer, client)
        if known != client and (known is _JOBS or self._burden(client) < self._burden(known)):
            self._enqueue(transfer, client, self._dequeue(transfer))
            self._admit()

    def unwanted(self, transfer: Transfer) -> None:
        """Take note that nobody waits for a running transfer any more: others may need its place."""
        self._idle.add(transfer)
        self._make_room()

    def _check_queue(self, client: str) -> None:
        most = _WAITING_FOR_EACH_PLACE * self.most
        mine = len(self._queues.get(client, ()))
        if mine >= most // 2 and client:
            problem = f"you have {mine} transfers waiting already"
        elif len(self._waiting) >= most:
            problem = f"all {self.most} places for transfers are taken, and {most} wait already"
        else:
            return
        self._figures.turned_away()
        raise TooManyTransfers(f"{problem}; try again later")

    def _enqueue(self, transfer: Transfer, client: str | None, admitted: asyncio.Future[None] | None) -> None:
        if admitted is not None:
            self._queues.setdefault(client, {})[transfer] = admitted
            self._waiting[transfer] = client

    def _dequeue(self, transfer: Transfer) -> asyncio.Future[None] | None:
        if transfer not in self._waiting:
            return None
        client = self._waiting.pop(transfer)
        queue = self._queues[client]
        admitted = queue.pop(transfer)
        if not queue:
            del self._queues[client]
        return admitted

    def _admit(self) -> None:
        """Give free places to whose turn it is."""
        while len(self._holders) < self.most and (turn := self._next()) is not None:
            transfer, client = turn
            admitted = self._dequeue(transfer)
            self._holders[transfer] = client
            self._held[client] += 1
            if admitted is not None and not admitted.done():
                admitted.set_result(None)

    def _next(self) -> tuple[Transfer, str | None] | None:
        able = [client for client in self._queues if self._held[client] < self._share(client)]
        if not able:
            return None
        client = min(able, key=lambda one: (one is _JOBS, self._held[one]))
        return next(iter(self._queues[client])), client

    def _share(self, client: str | None) -> int:
        """Return how many places may count for a client; one without an address stands for many."""
        return self.most if client == "" else max(1, self.most // 2)

    def _burden(self, client: str | None) -> int:
        return self._held[client] + len(self._queues.get(client, ()))

    def _make_room(self) -> None:
        """Let go of what nobody waits for, where it is too much, or in the way of those who wait."""
        idle = sorted(self._idle - self._leaving, key=lambda one: one.left_bytes)
        needed = len(self._waiting) - len(self._queues.get(_JOBS, ())) - len(self._leaving)
        is_full = len(self._holders) >= self.most
        while idle:
            transfer = idle.pop()
            is_in_the_way = needed > 0 and (is_full or self._holders.get(transfer) in self._queues)
            is_too_much = len(idle) >= self.most // _IDLE_SHARE
            if (is_in_the_way or is_too_much) and transfer.is_dispensable:
                needed -= 1
                self._leaving.add(transfer)
                transfer.let_go()

    def _tell(self) -> None:
        self._figures.note(len(self._holders), len(self._waiting))


def places_by_files(wanted: int, most_open_files: int) -> int:
    """Return how many of the wanted places a process has open files for."""
    return max(_FEWEST_PLACES, min(wanted, most_open_files // _FILES_FOR_EACH_PLACE))

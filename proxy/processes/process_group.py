"""The child processes of one configuration: workers and a keeper.

A group replaces those of its processes that die or hang. It is forked from a
process without an event loop, whose only thread is the log's. Children tell through a pipe that they
are ready, and that they live; they notice by another one that the supervisor is
gone.
"""

import asyncio
import contextlib
import logging
import os
import signal
import struct
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import uvloop

from proxy.errors import ProxyError
from proxy.logs.handler import LineHandler
from proxy.logs.set_up import log_of_service
from proxy.processes.connection_shares import ConnectionShares
from proxy.processes.keeper import keep
from proxy.processes.listeners import Listeners
from proxy.processes.loaded_config import LoadedConfig
from proxy.processes.supervisor_link import STOP_SIGNALS, SupervisorLink
from proxy.processes.worker import serve
from proxy.system.memory import share_arenas

log = logging.getLogger(__name__)

_QUICK_DEATH_S = 5.0
_LONGEST_PAUSE_S = 10.0
_FORK_PAUSE_S = 1.0
_HUNG_S = 30.0
"""A child whose event loop has not turned for this long is killed."""
_FROZEN_S = 5.0
"""The supervisor looks many times a second; so long a gap means that all stood still."""
_NEWS = struct.Struct("<i")
_MOST_NEWS = 1024


class Role(NamedTuple):
    """What a child does."""

    name: str
    """As the process list shows it."""
    run: Callable[[LoadedConfig, Listeners, SupervisorLink, LineHandler], Awaitable[None]]


_WORKER = Role("sstream-worker", serve)
_KEEPER = Role("sstream-keeper", keep)


@dataclass(slots=True)
class _Child:
    role: Role
    place: int
    """Among the workers; -1 for what is none."""
    started_at: float
    beat_at: float | None = None
    """When it last told that it lives, monotonic seconds; None before it is ready."""


class ProcessGroup:
    """The child processes of one configuration."""

    def __init__(
        self,
        loaded: LoadedConfig,
        listeners: Listeners,
        on_fork: Callable[["ProcessGroup"], None] = lambda _: None,
    ) -> None:
        self.loaded = loaded
        self.config = loaded.config
        self.listeners = listeners
        self._on_fork = on_fork
        """Called in each child with its group, to let go of what belongs to others alone."""
        self._shares = ConnectionShares(self.config.worker_count())
        self._children: dict[int, _Child] = {}
        self._quick_deaths: Counter[str] = Counter()
        self._vacant: list[tuple[float, Role]] = []
        """Roles to fill again, and not before which monotonic moment."""
        self._is_retired = False
        self._looked_at = time.monotonic()
        self._link = os.pipe()
        self._news = os.pipe()
        for fd in self._news:
            os.set_blocking(fd, False)

    def start(self) -> None:
        """Start all children."""
        for _ in range(self.config.worker_count()):
            self._start(_WORKER)
        self._start(_KEEPER)

    @property
    def is_ready(self) -> bool:
        """Whether every child does its work."""
        return not self._vacant and all(child.beat_at is not None for child in self._children.values())

    @property
    def has_died(self) -> bool:
        """Whether a child ended before it was ready: the configuration cannot work."""
        return bool(self._quick_deaths)

    @property
    def has_ended(self) -> bool:
        """Whether it is retired, and no child is left."""
        return self._is_retired and not self._children

    def replace_lost(self) -> None:
        """Reap children that have ended, replace them in a group that serves, and kill those that hang."""
        now = time.monotonic()
        self._read_news(now)
        if now - self._looked_at > _FROZEN_S:
            # The supervisor itself stood still; what the children did meanwhile nobody knows.
            for child in self._children.values():
                child.beat_at = child.beat_at and now
        self._looked_at = now
        for pid, status in self._reap():
            self._bury(pid, status, now)
        if self._is_retired:
            return
        for pid, child in self._children.items():
            if child.beat_at is not None and now - child.beat_at > _HUNG_S:
                log.error("child.hung name=%s pid=%d", child.role.name, pid)
                child.beat_at = now
                os.kill(pid, signal.SIGKILL)
        for due_at, role in list(self._vacant):
            if due_at <= now:
                self._vacant.remove((due_at, role))
                self._start(role)

    def retire(self, number: signal.Signals) -> None:
        """Have the children end, and replace none: SIGTERM in a while, SIGUSR1 when all replies have."""
        self._is_retired = True
        if number != signal.SIGUSR1:
            # A child that has just been forked may miss the signal, but not the end of the pipe.
            self.cut_link()
        self.send(number)

    def cut_link(self) -> None:
        """Close our end of the children's link to the supervisor, or what a child inherited of it."""
        read_end, write_end = self._link
        if write_end >= 0:
            os.close(write_end)
        self._link = (read_end, -1)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every child."""
        for pid in self._children:
            os.kill(pid, number)

    def close(self) -> None:
        """Let go of the pipes."""
        for fd in (*self._link, *self._news):
            if fd >= 0:
                os.close(fd)

    def _start(self, role: Role) -> None:
        place = self._free_place() if role is _WORKER else -1
        # A signal that came between the fork and the child's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                self._be(role, place)
            self._children[pid] = _Child(role, place, time.monotonic())
        except OSError as error:
            log.error("child.not_started name=%s problem=%s", role.name, error)  # noqa: TRY400
            self._vacant.append((time.monotonic() + _FORK_PAUSE_S, role))
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)

    def _free_place(self) -> int:
        taken = {child.place for child in self._children.values()}
        return next(place for place in range(self._shares.workers) if place not in taken)

    def _be(self, role: Role, place: int) -> None:
        status = 1
        try:
            self.cut_link()
            self._on_fork(self)
            for number in (*STOP_SIGNALS, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN if number == signal.SIGHUP else signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
            with contextlib.suppress(OSError):
                Path("/proc/self/comm").write_text(role.name)
            lines = log_of_service(self.config.log.level, self.config.log.format)
            share_arenas()
            link = SupervisorLink(self._link[0], self._tell)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_awaited(role.run(self.loaded, self._listeners_of(place), link, lines)))
            status = 0
        except (ProxyError, OSError) as error:
            log.critical("child.failed name=%s problem=%s", role.name, error)
        except BaseException:
            log.critical("child.crashed name=%s pid=%d", role.name, os.getpid(), exc_info=True)
        finally:
            logging.shutdown()
            os._exit(status)

    def _listeners_of(self, place: int) -> Listeners:
        """Return what the worker at a place listens on; with others beside it, for its share."""
        if place < 0 or self._shares.workers == 1:
            return self.listeners
        return self.listeners._replace(share=self._shares.share(place))

    def _tell(self) -> None:
        """Tell, in a child, that it is ready and lives."""
        with contextlib.suppress(BlockingIOError):
            os.write(self._news[1], _NEWS.pack(os.getpid()))

    def _read_news(self, now: float) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(self._news[0], _NEWS.size * _MOST_NEWS)
            for (pid,) in _NEWS.iter_unpack(data[: len(data) // _NEWS.size * _NEWS.size]):
                if pid in self._children:
                    self._children[pid].beat_at = now

    def _reap(self) -> list[tuple[int, int]]:
        """Return the children that have ended: process id and wait status."""
        ended = [os.waitpid(pid, os.WNOHANG) for pid in self._children]
        return [(pid, status) for pid, status in ended if pid]

    def _bury(self, pid: int, status: int, now: float) -> None:
        child = self._children.pop(pid)
        if child.place >= 0:
            self._shares.vacate(child.place)
        if self._is_retired:
            return
        name, lived_s = child.role.name, now - child.started_at
        code = os.waitstatus_to_exitcode(status)
        log.error("child.died name=%s pid=%d status=%d seconds=%.1f", name, pid, code, round(lived_s, 1))
        self._quick_deaths[name] = self._quick_deaths[name] + 1 if lived_s < _QUICK_DEATH_S else 0
        deaths = self._quick_deaths[name]
        pause_s = min(0.1 * 2 ** min(deaths, 10), _LONGEST_PAUSE_S) if deaths > 1 else 0.0
        self._vacant.append((now + pause_s, child.role))


async def _awaited(work: Awaitable[None]) -> None:
    await work

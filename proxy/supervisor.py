"""The supervisor: one crew of processes at a time, and what signals mean.

SIGTERM, SIGINT   running replies get some time to end; a second one cuts them
SIGHUP            read the configuration again: a new crew takes over, the old one
                  ends when its replies have; a faulty configuration changes nothing

It runs no event loop and no thread, so that forking is safe.
"""

import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType

from proxy.config import Config
from proxy.crew import Crew
from proxy.errors import ProxyError
from proxy.runtime import open_keyrings
from proxy.sockets import bind
from proxy.systemd import Notifier
from proxy.worker import tls_context

log = logging.getLogger(__name__)

_GRACE_S = 5.0
_POLL_S = 0.05
_READY_WITHIN_S = 60.0


class Supervisor:
    """Keeps a crew alive. Takes over the process's signals when made."""

    def __init__(
        self, config: Config, load: Callable[[], Config], notifier: Notifier, handed_over: list[socket.socket]
    ) -> None:
        self._load = load
        self._notifier = notifier
        self._stops = 0
        self._must_reload = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGHUP, self._note_reload)
        self._handed_over = handed_over
        self._bound: dict[tuple[str, int], socket.socket] = {}
        self._retired: list[Crew] = []
        self._crew = self._prepare(config)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Where it listens."""
        return [one.getsockname()[:2] for one in self._handed_over or self._bound.values()]

    def run(self) -> int:
        """Supervise until told to stop; return the exit status."""
        self._crew.start()
        is_told = False
        while not self._stops:
            self._look()
            if not is_told and self._crew.is_ready:
                is_told = True
                self._notifier.ready(self._status())
            if self._must_reload:
                self._must_reload = False
                self._notifier.reloading()
                self._reload()
                self._notifier.ready(self._status())
            time.sleep(_POLL_S)
        self._notifier.stopping()
        self._stop_all()
        return 0

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _note_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._must_reload = True

    def _prepare(self, config: Config) -> Crew:
        """Return a crew for a configuration, not started. Raises ProxyError when it cannot work."""
        config.data_dir.mkdir(parents=True, exist_ok=True)
        open_keyrings(config)
        tls_context(config)
        if not self._handed_over:
            self._bound = bind(config.addresses, self._bound)
        sockets = self._handed_over or list(self._bound.values())
        return Crew(config, sockets, self._let_go)

    def _reload(self) -> None:
        """Let a new crew take over, if it comes to life; else leave everything as it is."""
        known = dict(self._bound)
        try:
            crew = self._prepare(self._load())
        except (ProxyError, OSError) as error:
            log.error("config.rejected problem=%s", error)  # noqa: TRY400 - no fault of this program
            return
        crew.start()
        if self._comes_to_life(crew):
            self._crew.retire(signal.SIGUSR1)
            self._retired.append(self._crew)
            self._crew = crew
            log.info("config.accepted workers=%d", crew.config.worker_count())
        else:
            crew.retire(signal.SIGTERM)
            self._retired.append(crew)
            self._bound, known = known, self._bound
            log.error("config.rejected problem=%s", "the new processes do not come to life")
        for address, one in known.items():
            if address not in self._bound:
                one.close()

    def _comes_to_life(self, crew: Crew) -> bool:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._stops and time.monotonic() < deadline:
            self._look()
            crew.look()
            if crew.has_died:
                return False
            if crew.is_ready:
                return True
            time.sleep(_POLL_S)
        return False

    def _look(self) -> None:
        self._crew.look()
        for crew in list(self._retired):
            crew.look()
            if crew.is_gone:
                crew.close()
                self._retired.remove(crew)
        self._notifier.feed_watchdog(time.monotonic())

    def _stop_all(self) -> None:
        """Let all children drain; a second signal, or the end of patience, kills them."""
        crews = [self._crew, *self._retired]
        for crew in crews:
            crew.retire(signal.SIGTERM)
        deadline = time.monotonic() + self._crew.config.clients.drain_timeout_s + _GRACE_S
        while not all(crew.is_gone for crew in crews):
            for crew in crews:
                crew.look()
                if self._stops > 1 or time.monotonic() > deadline:
                    crew.send(signal.SIGKILL)
            self._notifier.feed_watchdog(time.monotonic())
            time.sleep(_POLL_S)

    def _let_go(self, own: Crew) -> None:
        """Let go, in a child of a crew, of the pipes of all others."""
        for crew in (self._crew, *self._retired):
            if crew is not own:
                crew.close()

    def _status(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self.addresses)
        return f"{self._crew.config.worker_count()} workers on {where}, pid {os.getpid()}"

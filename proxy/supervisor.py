"""The supervisor: one crew of processes at a time, and what signals mean.

SIGTERM, SIGINT   running replies get some time to end; a second one cuts them
SIGHUP            read the configuration again: a new crew takes over, the old one
                  ends when its replies have; a faulty configuration changes nothing

A certificate that was renewed is taken over in the same way, by itself. It runs
no event loop and no thread, so that forking is safe.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from proxy.config import Config
from proxy.crew import Crew
from proxy.errors import ProxyError
from proxy.ports import Ports
from proxy.runtime import open_keyrings
from proxy.sockets import Listeners, shown_address
from proxy.systemd import Notifier
from proxy.tls import FileWatch, tls_context

log = logging.getLogger(__name__)

_GRACE_S = 5.0
_POLL_S = 0.05
_READY_WITHIN_S = 60.0


class Supervisor:
    """Keeps a crew alive. Takes over the process's signals when made."""

    def __init__(
        self, config: Config, load: Callable[[], Config], notifier: Notifier, handed_over: Listeners
    ) -> None:
        self._load = load
        self._notifier = notifier
        self._stops = 0
        self._must_reload = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGHUP, self._note_reload)
        self._handed_over = handed_over
        self._ports = Ports()
        self._others: list[Crew] = []
        """Crews beside the one that serves: one that is being tried, and those whose last replies end."""
        self._certificate = _watch(config)
        self._crew = self._prepare(config)
        self._ports.listen()

    @property
    def listeners(self) -> Listeners:
        """Where it listens."""
        return self._crew.listeners

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
                self._reload(self._load)
            elif self._certificate.has_changed(time.monotonic()):
                log.info("certificate.changed path=%s", self._crew.config.tls.certificate)
                self._reload(lambda: self._crew.config)
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
        tls = tls_context(config.tls)
        handed_over = self._handed_over
        clients = () if handed_over.clients else config.addresses
        admins = () if handed_over.admins else config.admin_addresses
        bound = self._ports.bind([*clients, *admins])
        listeners = Listeners(
            clients=handed_over.clients or tuple(bound[address] for address in clients),
            admins=handed_over.admins or tuple(bound[address] for address in admins),
            tls=tls,
        )
        return Crew(config, listeners, self._let_go)

    def _reload(self, load: Callable[[], Config]) -> None:
        """Let a new crew take over, and tell systemd meanwhile."""
        self._notifier.reloading()
        self._take_over(load)
        self._notifier.ready(self._status())

    def _take_over(self, load: Callable[[], Config]) -> None:
        """Let a new crew take over, if it comes to life; else leave everything as it is."""
        try:
            config = load()
            certificate = _watch(config)  # First: what changes while it is being read is a change still.
            crew = self._prepare(config)
        except (ProxyError, OSError) as error:
            self._ports.keep(self.listeners.all)
            log.error("config.rejected problem=%s", error)  # noqa: TRY400 - no fault of this program
            return
        self._others.append(crew)
        crew.start()
        if self._comes_to_life(crew):
            self._others.remove(crew)
            old, self._crew, self._certificate = self._crew, crew, certificate
            self._end(old, signal.SIGUSR1)
            log.info("config.accepted workers=%d listen=%s", crew.config.worker_count(), self._where())
        else:
            self._others.remove(crew)
            self._end(crew, signal.SIGTERM)
            if not self._stops:
                log.error("config.rejected problem=%s", "the new processes do not come to life")

    def _end(self, crew: Crew, number: signal.Signals) -> None:
        """Let a crew end beside the one that serves; ports that were only its own refuse clients from now."""
        crew.retire(number)
        self._others.append(crew)
        self._ports.keep(self.listeners.all)

    def _comes_to_life(self, crew: Crew) -> bool:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._stops and time.monotonic() < deadline:
            self._look()
            if crew.has_died:
                return False
            if crew.is_ready:
                return True
            time.sleep(_POLL_S)
        return False

    def _look(self) -> None:
        self._crew.look()
        for crew in list(self._others):
            crew.look()
            if crew.has_ended:
                crew.close()
                self._others.remove(crew)
        self._notifier.feed_watchdog(time.monotonic())

    def _stop_all(self) -> None:
        """Let all children drain; a second signal, or the end of patience, kills them.

        Whoever connects meanwhile is refused at once; at a port of systemd's, its next process answers.
        """
        crews = [self._crew, *self._others]
        for crew in crews:
            crew.retire(signal.SIGTERM)
        self._ports.keep(())
        self._handed_over.close()
        deadline = time.monotonic() + self._crew.config.clients.drain_timeout_s + _GRACE_S
        while not all(crew.has_ended for crew in crews):
            for crew in crews:
                crew.look()
                if self._stops > 1 or time.monotonic() > deadline:
                    crew.send(signal.SIGKILL)
            self._notifier.feed_watchdog(time.monotonic())
            time.sleep(_POLL_S)

    def _let_go(self, own: Crew) -> None:
        """Let go, in a child of a crew, of the pipes and ports of all others."""
        for crew in (self._crew, *self._others):
            if crew is not own:
                crew.close()
        self._ports.let_go(own.listeners.all)

    def _status(self) -> str:
        return f"{self._crew.config.worker_count()} workers on {self._where()}, pid {os.getpid()}"

    def _where(self) -> str:
        return ", ".join(map(shown_address, self.listeners.clients))


def _watch(config: Config) -> FileWatch:
    return FileWatch(config.tls.files, config.tls.check_every_s, time.monotonic())

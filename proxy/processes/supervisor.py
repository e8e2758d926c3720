"""The supervisor: one crew of processes at a time, and what signals mean.

SIGTERM, SIGINT   running replies get some time to end; a second one cuts them
SIGHUP            read the configuration again: a new crew takes over, the old one
                  ends when its replies have; a faulty configuration changes nothing

A certificate or keyring that was renewed is taken over in the same way, by
itself. It runs no event loop and no thread, so that forking is safe.
"""

import logging
import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from proxy.config.config import Config
from proxy.config.keyrings import HOMES
from proxy.errors import ProxyError
from proxy.processes.crew import Crew
from proxy.processes.equipment import Equipment, Renewals, Renewed, read_equipment
from proxy.processes.ports import Ports
from proxy.processes.sockets import Listeners, shown_address
from proxy.processes.systemd import Notifier
from proxy.signatures.keyhome import sweep_homes

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
        self._renewals = Renewals.of(config, time.monotonic())
        self._crew = self._prepare(read_equipment(config))
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
                self._take_over(self._read_again)
            elif renewed := self._renewals.look(self._crew.equipment, time.monotonic()):
                self._renew(renewed)
            time.sleep(_POLL_S)
        self._notifier.stopping()
        self._stop_all()
        return 0

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _note_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._must_reload = True

    def _prepare(self, equipment: Equipment) -> Crew:
        """Return a crew with that equipment, not started. Raises ProxyError when it cannot work."""
        config, handed_over = equipment.config, self._handed_over
        clients = () if handed_over.clients else config.addresses
        admins = () if handed_over.admins else config.admin_addresses
        bound = self._ports.bind([*clients, *admins])
        listeners = Listeners(
            clients=handed_over.clients or tuple(bound[address] for address in clients),
            admins=handed_over.admins or tuple(bound[address] for address in admins),
            tls=equipment.tls,
        )
        for oddity in equipment.oddities():
            log.warning("keyring.odd problem=%s", oddity)
        identities = {keyring.identity for keyring in equipment.keyrings.values()}
        sweep_homes(config.data_dir / HOMES, identities, time.time())
        return Crew(equipment, listeners, self._let_go)

    def _renew(self, renewed: Renewed) -> None:
        self._take_over(lambda: renewed)

    def _read_again(self) -> Renewed:
        """Read the configuration again, and what it names."""
        config = self._load()
        renewals = Renewals.of(config, time.monotonic())
        return Renewed(read_equipment(config), renewals)

    def _take_over(self, read: Callable[[], Renewed]) -> None:
        """Let a new crew take over, if it comes to life; else leave everything as it is. Systemd is told."""
        self._notifier.reloading()
        self._try(read)
        self._notifier.ready(self._status())

    def _try(self, read: Callable[[], Renewed]) -> None:
        try:
            renewed, renewals = read()
            crew = self._prepare(renewed)
        except (ProxyError, OSError) as error:
            self._ports.keep(self.listeners.all)
            log.error("config.rejected problem=%s", error)  # noqa: TRY400 - no fault of this program
            return
        self._others.append(crew)
        crew.start()
        if self._comes_to_life(crew):
            self._others.remove(crew)
            old, self._crew, self._renewals = self._crew, crew, renewals
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

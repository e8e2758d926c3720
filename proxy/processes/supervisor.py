"""The supervisor: one group of processes at a time, and what signals mean.

SIGTERM, SIGINT   running replies get some time to end; a second one cuts them
SIGHUP            read the configuration again: a new group takes over, the old one
                  ends when its replies have; a faulty configuration changes nothing

A certificate or keyring that was renewed is taken over in the same way, by
itself. It runs no event loop, and no thread but the log's, which has ended when it forks
or stands in a write, so that forking is safe.
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
from proxy.processes.bound_ports import BoundPorts
from proxy.processes.listeners import Listeners, shown_address
from proxy.processes.loaded_config import FileChanges, LoadedConfig, Reloaded, load_files
from proxy.processes.process_group import ProcessGroup
from proxy.processes.systemd import Notifier
from proxy.signatures.keyhome import sweep_homes

log = logging.getLogger(__name__)

_GRACE_S = 5.0
_POLL_S = 0.05
_READY_WITHIN_S = 60.0


class Supervisor:
    """Keeps a group of processes alive. Takes over the process's signals when made."""

    def __init__(
        self,
        config: Config,
        load: Callable[[], Config],
        on_accepted: Callable[[Config], None],
        notifier: Notifier,
        handed_over: Listeners,
    ) -> None:
        self._load = load
        self._on_accepted = on_accepted
        """Called with a configuration that was read again, once it holds."""
        self._notifier = notifier
        self._stops = 0
        self._must_reload = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note_stop)
        signal.signal(signal.SIGHUP, self._note_reload)
        self._handed_over = handed_over
        self._ports = BoundPorts()
        self._others: list[ProcessGroup] = []
        """Groups beside the one that serves: one that is being tried, and those whose last replies end."""
        self._changes = FileChanges.of(config, time.monotonic())
        self._group = self._prepare(load_files(config))
        self._ports.listen()

    @property
    def config(self) -> Config:
        """What is served."""
        return self._group.config

    @property
    def listeners(self) -> Listeners:
        """Where it listens."""
        return self._group.listeners

    def run(self) -> int:
        """Supervise until told to stop; return the exit status."""
        self._group.start()
        is_told = False
        while not self._stops:
            self._tend_groups()
            if not is_told and self._group.is_ready:
                is_told = True
                self._notifier.ready(self._status())
            if self._must_reload:
                self._must_reload = False
                self._take_over(self._read_again)
            elif renewed := self._changes.reloaded(self._group.loaded, time.monotonic()):
                self._renew(renewed)
            time.sleep(_POLL_S)
        self._notifier.stopping()
        self._stop_all()
        return 0

    def _note_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stops += 1

    def _note_reload(self, _number: int, _frame: FrameType | None) -> None:
        self._must_reload = True

    def _prepare(self, loaded: LoadedConfig) -> ProcessGroup:
        """Return the group of a configuration, not started. Raises ProxyError when it cannot work."""
        config, handed_over = loaded.config, self._handed_over
        clients = () if handed_over.clients else config.addresses
        admins = () if handed_over.admins else config.admin_addresses
        bound = self._ports.bind([*clients, *admins])
        plain = (bound[address] for address in config.plain_addresses & bound.keys())
        listeners = Listeners(
            clients=handed_over.clients or tuple(bound[address] for address in clients),
            admins=handed_over.admins or tuple(bound[address] for address in admins),
            tls=loaded.tls,
            plain=(*handed_over.plain, *plain),
        )
        for oddity in loaded.oddities():
            log.warning("keyring.odd problem=%s", oddity)
        identities = {keyring.identity for keyring in loaded.keyrings.values()}
        sweep_homes(config.data_dir / HOMES, identities, time.time())
        return ProcessGroup(loaded, listeners, self._let_go)

    def _renew(self, renewed: Reloaded) -> None:
        self._take_over(lambda: renewed)

    def _read_again(self) -> Reloaded:
        """Read the configuration again, and what it names."""
        config = self._load()
        changes = FileChanges.of(config, time.monotonic())
        return Reloaded(load_files(config), changes)

    def _take_over(self, read: Callable[[], Reloaded]) -> None:
        """Let a new group take over, if it comes to life; else leave all as it is. Systemd is told."""
        self._notifier.reloading()
        self._try(read)
        self._notifier.ready(self._status())

    def _try(self, read: Callable[[], Reloaded]) -> None:
        try:
            renewed, changes = read()
            group = self._prepare(renewed)
        except (ProxyError, OSError) as error:
            self._ports.keep(self.listeners.all)
            log.error("config.rejected problem=%s", error)  # noqa: TRY400 - no fault of this program
            return
        self._others.append(group)
        group.start()
        if self._comes_to_life(group):
            self._others.remove(group)
            old, self._group, self._changes = self._group, group, changes
            self._end(old, signal.SIGUSR1)
            self._on_accepted(group.config)
            log.info("config.accepted workers=%d listen=%s", group.config.worker_count(), self._where())
        else:
            self._others.remove(group)
            self._end(group, signal.SIGTERM)
            if not self._stops:
                log.error("config.rejected problem=%s", "the new processes do not come to life")

    def _end(self, group: ProcessGroup, number: signal.Signals) -> None:
        """Let a group end beside the one that serves; ports that only it had refuse clients from now on."""
        group.retire(number)
        self._others.append(group)
        self._ports.keep(self.listeners.all)

    def _comes_to_life(self, group: ProcessGroup) -> bool:
        deadline = time.monotonic() + _READY_WITHIN_S
        while not self._stops and time.monotonic() < deadline:
            self._tend_groups()
            if group.has_died:
                return False
            if group.is_ready:
                return True
            time.sleep(_POLL_S)
        return False

    def _tend_groups(self) -> None:
        self._group.replace_lost()
        for group in list(self._others):
            group.replace_lost()
            if group.has_ended:
                group.close()
                self._others.remove(group)
        self._notifier.feed_watchdog(time.monotonic())

    def _stop_all(self) -> None:
        """Let all children drain; a second signal, or the end of patience, kills them.

        Whoever connects meanwhile is refused at once; at a port of systemd's, its next process answers.
        """
        groups = [self._group, *self._others]
        for group in groups:
            group.retire(signal.SIGTERM)
        self._ports.keep(())
        self._handed_over.close()
        deadline = time.monotonic() + self._group.config.clients.drain_timeout_s + _GRACE_S
        while not all(group.has_ended for group in groups):
            for group in groups:
                group.replace_lost()
                if self._stops > 1 or time.monotonic() > deadline:
                    group.send(signal.SIGKILL)
            self._notifier.feed_watchdog(time.monotonic())
            time.sleep(_POLL_S)

    def _let_go(self, own: ProcessGroup) -> None:
        """Let go, in a child of a group, of the pipes and ports of all others."""
        for group in (self._group, *self._others):
            if group is not own:
                group.close()
        self._ports.let_go(own.listeners.all)

    def _status(self) -> str:
        return f"{self._group.config.worker_count()} workers on {self._where()}, pid {os.getpid()}"

    def _where(self) -> str:
        return ", ".join(map(shown_address, self.listeners.clients))

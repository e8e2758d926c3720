"""Worker processes: several of them, one port, one to look after them.

The supervisor binds the sockets, forks the workers, replaces one that dies, and
passes signals on. It runs no event loop and no thread, so that forking is safe.
A worker notices by a pipe when its supervisor is gone, and stops too.
"""

import asyncio
import logging
import os
import signal
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from types import FrameType

import uvloop

from proxy.config import Config
from proxy.errors import ProxyError
from proxy.logs import set_up_logging
from proxy.runtime import open_runtime
from proxy.web.app import Listening, create_app

log = logging.getLogger(__name__)

_BACKLOG = 1024
_QUICK_DEATH_S = 5.0
_LONGEST_PAUSE_S = 10.0
_GRACE_S = 5.0
_POLL_S = 0.05
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class CannotListen(ProxyError):
    """An address that cannot be bound."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        problem = error.strerror or str(error)
        super().__init__(f"cannot listen on {host}:{port}: {problem}; choose another with --listen")


def bind(addresses: Sequence[tuple[str, int]]) -> list[socket.socket]:
    """Return a listening socket for each address. Raises CannotListen."""
    sockets = []
    for host, port in addresses:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            one = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        except OSError as error:
            raise CannotListen(host, port, error) from error
        one.setblocking(False)
        sockets.append(one)
    return sockets


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context of the listeners, None without a certificate."""
    if config.tls.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.tls.certificate, config.tls.key)
    return context


async def serve(config: Config, sockets: Sequence[socket.socket], supervisor: int | None = None) -> None:
    """Serve until SIGTERM or SIGINT, or until the supervisor's pipe closes; then drain."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stopping.set)
    if supervisor is not None:
        loop.add_reader(supervisor, stopping.set)
    async with open_runtime(config) as cache:
        listening = Listening(
            create_app(cache, config.mirrors),
            keepalive_timeout_s=config.clients.keepalive_timeout_s,
            drain_timeout_s=config.clients.drain_timeout_s,
        )
        await listening.start(sockets, tls_context(config))
        log.info("worker.ready pid=%d", os.getpid())
        await stopping.wait()
        if supervisor is not None:
            loop.remove_reader(supervisor)
        log.info("worker.draining pid=%d", os.getpid())
        await listening.stop()
    log.info("worker.stopped pid=%d", os.getpid())


class Supervisor:
    """Keeps the configured number of workers alive; takes over SIGTERM and SIGINT when made."""

    def __init__(self, config: Config, sockets: Sequence[socket.socket]) -> None:
        self._config = config
        self._sockets = sockets
        self._started_at: dict[int, float] = {}
        self._quick_deaths = 0
        self._signals = 0
        self._pipe = os.pipe()
        for number in _STOP_SIGNALS:
            signal.signal(number, self._note_signal)

    def run(self) -> int:
        """Supervise until told to stop; return the exit status."""
        for _ in range(self._config.worker_count()):
            self._start_worker()
        while not self._signals:
            self._replace_dead()
            time.sleep(_POLL_S)
        self._stop_workers()
        return 0

    def _note_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1

    def _start_worker(self) -> None:
        # A signal that came between the fork and the worker's own handlers would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
        pid = os.fork()
        if pid == 0:
            self._be_worker()
        self._started_at[pid] = time.monotonic()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)

    def _be_worker(self) -> None:
        status = 1
        try:
            read_end, write_end = self._pipe
            os.close(write_end)
            for number in _STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOP_SIGNALS)
            set_up_logging(self._config.log.level, self._config.log.format)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(serve(self._config, self._sockets, read_end))
            status = 0
        except ProxyError as error:
            log.critical("worker.failed problem=%s", error)
        except BaseException:
            log.critical("worker.crashed pid=%d", os.getpid(), exc_info=True)
        finally:
            sys.stderr.flush()
            os._exit(status)

    def _replace_dead(self) -> None:
        for pid, status in self._dead():
            lived_s = time.monotonic() - self._started_at.pop(pid)
            log.error(
                "worker.died pid=%d status=%d seconds=%.1f", pid, os.waitstatus_to_exitcode(status), lived_s
            )
            self._quick_deaths = self._quick_deaths + 1 if lived_s < _QUICK_DEATH_S else 0
            if self._quick_deaths > 1:
                self._pause(min(0.1 * 2 ** min(self._quick_deaths, 10), _LONGEST_PAUSE_S))
            if not self._signals:
                self._start_worker()

    def _pause(self, seconds: float) -> None:
        """Wait, but not past a signal."""
        until = time.monotonic() + seconds
        while not self._signals and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _dead(self) -> list[tuple[int, int]]:
        """Reap the workers that have ended: process id and wait status."""
        ended = [os.waitpid(pid, os.WNOHANG) for pid in self._started_at]
        return [(pid, status) for pid, status in ended if pid]

    def _stop_workers(self) -> None:
        """Let the workers drain; a second signal, or the end of patience, kills them."""
        # A worker that has just been forked may miss the signal, but not the end of the pipe.
        os.close(self._pipe[1])
        self._signal_workers(signal.SIGTERM)
        deadline = time.monotonic() + self._config.clients.drain_timeout_s + _GRACE_S
        while self._started_at:
            for pid, _ in self._dead():
                del self._started_at[pid]
            if self._signals > 1 or time.monotonic() > deadline:
                self._signal_workers(signal.SIGKILL)
            time.sleep(_POLL_S)

    def _signal_workers(self, number: signal.Signals) -> None:
        for pid in self._started_at:
            os.kill(pid, number)

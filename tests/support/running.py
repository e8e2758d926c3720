"""The proxy under test: in this process for most tests, as real processes for the rest.

`RunningProxy` runs the runtime and the HTTP server in the test's own event loop, on
a loopback port, with a clock that the test sets. `Service` runs the installed
command with its worker processes.
"""

import contextlib
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import aiohttp
from yarl import URL

from proxy.bundles.lockfile import Lockfile
from proxy.config.config import Config
from proxy.documents.documents import Documents
from proxy.documents.freshness import FreshnessPolicy
from proxy.fills.feed import FeedOptions
from proxy.mirror import Mirror
from proxy.processes.worker import open_operator
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.sources.options import UpstreamOptions
from proxy.store.limits import StoreLimits
from proxy.store.local.store import LocalStore
from proxy.web.access.gate import Gate
from proxy.web.app import Listening, Operator, create_app
from proxy.web.log_line import RequestLog
from support.layout import Layout
from support.warm import WarmProcess

MOUNT = "/images/test/"


class Clock:
    """Unix seconds that pass only when a test says so."""

    def __init__(self, now: float | None = None) -> None:
        self.now = time.time() if now is None else now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


def make_config(data_dir: Path, *mirrors: Mirror, **changes: Any) -> Config:
    """Return a configuration with short patience, fit for tests on loopback."""
    defaults = Config(
        data_dir=data_dir,
        listen=("127.0.0.1:0",),
        workers=1,
        mirrors=mirrors,
        cache=StoreLimits(min_free_bytes=0),
        freshness=FreshnessPolicy(fresh_for_s=300),
        upstream=UpstreamOptions(connect_timeout_s=2, stall_timeout_s=1, give_up_after_s=3),
        feed=FeedOptions(drip_interval_s=0.2),
    )
    return replace(defaults, **changes)


@dataclass
class Got:
    """A reply, read to its end or to where it broke off."""

    status: int
    headers: Any
    body: bytes
    is_complete: bool

    @property
    def cache_status(self) -> str:
        """The proxy's own entry of Cache-Status, without its name."""
        return str(self.headers.get("Cache-Status", "")).removeprefix("sstream-proxy; ")


@dataclass
class RunningProxy:
    """A proxy in this event loop."""

    cache: Cache
    config: Config
    clock: Clock
    base: str
    session: aiohttp.ClientSession
    gate: Gate
    operator: Operator
    tls: ssl.SSLContext | None = field(default=None)

    def url(self, path: str) -> URL:
        """Return the URL of a path below the first mirror's mount, or of an absolute one, as written."""
        full = path if path.startswith("/") else self.config.mirrors[0].mount + path
        return URL(self.base + full, encoded=True)

    def get(self, path: str, **options: Any) -> Any:
        """Begin a GET; use with `async with`."""
        return self.session.get(self.url(path), **options)

    async def read(self, path: str, method: str = "GET", **headers: str) -> Got:
        """Request a path and read all that comes; a reply cut short is no error here."""
        async with self.session.request(method, self.url(path), headers=headers) as response:
            body = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    body += chunk
            except aiohttp.ClientPayloadError:
                return Got(response.status, response.headers, bytes(body), is_complete=False)
            return Got(response.status, response.headers, bytes(body), is_complete=True)

    @property
    def documents(self) -> Documents:
        """The first mirror's documents, for tests that let time pass or demand a check."""
        return self.cache._documents[self.config.mirrors[0].name]

    @property
    def store(self) -> LocalStore:
        """The proxy's store."""
        store = self.cache.storage.store
        assert isinstance(store, LocalStore)
        return store

    @property
    def layout(self) -> Layout:
        """Where the store's files are."""
        return Layout(self.config.data_dir)

    async def fills_ended(self) -> None:
        """Return when no fill is running."""
        await self.cache._flights.ended()


@contextlib.asynccontextmanager
async def run_proxy(
    config: Config,
    clock: Clock | None = None,
    tls: ssl.SSLContext | None = None,
    listener: socket.socket | None = None,
    lockfile: Lockfile | None = None,
) -> AsyncIterator[RunningProxy]:
    """Run a proxy for the length of the context; at a socket, where its port has to be known before."""
    clock = clock or Clock()
    with listener or socket.create_server(("127.0.0.1", 0), backlog=1024) as bound:
        bound.setblocking(False)
        port = bound.getsockname()[1]
        async with open_runtime(config, clock, lockfile=lockfile) as cache:
            operator = await open_operator(config, cache, clock)
            gate = Gate(config.access, config.users, config.mirrors)
            app = create_app(cache, config.mirrors, gate, operator)
            listening = Listening(app, config.clients, RequestLog(logging.getLogger("proxy.access")))
            await listening.start([bound], tls)
            scheme = "http" if tls is None else "https"
            connector = aiohttp.TCPConnector(limit=0, force_close=False)
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
                try:
                    base = f"{scheme}://127.0.0.1:{port}"
                    yield RunningProxy(cache, config, clock, base, session, gate, operator, tls)
                finally:
                    await session.close()
                    await listening.stop()
                    gate.close()


class Service:
    """The command `sstream-proxy serve`, as a person would start it but for the reading of the program.

    With more in its environment it is started anew: some of that acts from the first moment on.
    """

    def __init__(self, *arguments: str, env: dict[str, str] | None = None, log: Path) -> None:
        self._log = log
        told, stdout = os.pipe()
        self._told = os.fdopen(told)
        try:
            with log.open("ab") as stderr:
                self.process = _start(["serve", *arguments], stdout, stderr.fileno(), env)
        finally:
            os.close(stdout)
        self.banner = "".join(self._read_banner())
        self.base = self._find_base()

    def _read_banner(self) -> Iterator[str]:
        while (line := self._told.readline()) and not line.startswith("Point LXD"):
            yield line

    def _find_base(self) -> str:
        for line in self.banner.splitlines():
            if "listening on" in line:
                return line.split("listening on")[1].split(",")[0].strip()
        self.stop()
        raise AssertionError(f"the service did not start:\n{self.banner}\n{self.log()}")

    def log(self) -> str:
        """Return what it has logged so far."""
        return self._log.read_text(errors="replace")

    def children(self) -> dict[int, str]:
        """Return the names of its living processes, by process id."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return {pid: _name(pid) for pid in map(int, children.split()) if _is_alive(pid)}

    def worker_pids(self) -> list[int]:
        """Return the process ids of its workers."""
        return [pid for pid, name in self.children().items() if name == "sstream-worker"]

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal the supervisor and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._told.close()
            if isinstance(self.process, WarmProcess):
                self.process.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _start(
    arguments: list[str], stdout: int, stderr: int, env: dict[str, str] | None
) -> WarmProcess | subprocess.Popen[bytes]:
    if not env:
        return WarmProcess(arguments, stdout=stdout, stderr=stderr)
    command = [sys.executable, "-m", "proxy", *arguments]
    return subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **env})


def _is_alive(pid: int) -> bool:
    """Say whether a process is more than an exit status that its parent has not read yet."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""

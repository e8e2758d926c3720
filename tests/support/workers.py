"""The service with several real workers: which one a client talks to, which one fills, what they log."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from yarl import URL

from proxy.mirror import Mirror
from support.exchange import Exchange
from support.running import Service
from support.serving import write_config


class LiveLog:
    """A service's log as it is written: a named pipe in place of the file, so that lines are events."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[str] = []
        self._news = asyncio.Condition()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Read the pipe for the length of the context."""
        os.mkfifo(self.path)
        # Open for writing as well, or the pipe would end with its first writer.
        pipe = os.fdopen(os.open(self.path, os.O_RDWR | os.O_NONBLOCK), "rb", buffering=0)
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), pipe
        )
        reading = asyncio.create_task(self._read(reader))
        try:
            yield
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            transport.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            async with self._news:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._news.notify_all()

    def having(self, text: str) -> list[str]:
        """List the lines that hold a text."""
        return [line for line in self.lines if text in line]

    async def seen(self, text: str, times: int = 1) -> None:
        """Return once so many lines hold a text."""
        async with asyncio.timeout(20), self._news:
            await self._news.wait_for(lambda: len(self.having(text)) >= times)


class Workers:
    """A running service, seen worker by worker."""

    def __init__(self, service: Service, log: LiveLog, mount: str, data_dir: Path) -> None:
        self.service = service
        self.log = log
        self.data_dir = data_dir
        self._mount = mount
        self._stack = AsyncExitStack()

    @property
    def pids(self) -> list[int]:
        """The workers' process ids."""
        return self.service.worker_pids()

    def url(self, path: str) -> URL:
        """Return the URL of a path below the mirror's mount."""
        return URL(f"{self.service.base}{self._mount}{path}", encoded=True)

    async def connect(self, pid: int, count: int = 1) -> list[Exchange]:
        """Return connections to one worker: the others stand still while these are accepted."""
        welcome = URL(f"{self.service.base}/")
        with frozen([other for other in self.pids if other != pid]):
            connected = [await self._stack.enter_async_context(Exchange(welcome)) for _ in range(count)]
            for exchange in connected:
                assert (await exchange.rest()).status == 200
        return connected

    async def ask(self, pid: int, path: str, count: int = 1) -> list[Exchange]:
        """Return GETs of a path, sent to one worker."""
        connected = await self.connect(pid, count)
        for exchange in connected:
            await exchange.send(self.url(path))
        return connected

    def filler(self, digest: str) -> int | None:
        """Return the worker that holds the lock on a partial file."""
        partial = str(self.data_dir / "incoming" / digest)
        return next((pid for pid in self.pids if _holds_lock(pid, partial)), None)

    async def leave(self) -> None:
        """Hang up all connections."""
        await self._stack.aclose()


@asynccontextmanager
async def run_workers(
    folder: Path, mirror: Mirror, workers: int = 2, settings: str = "", env: dict[str, str] | None = None
) -> AsyncIterator[Workers]:
    """Run the service with so many workers, all of them ready."""
    config = write_config(folder, mirror, settings=settings)
    log = LiveLog(folder / "log")
    async with log.open():
        arguments = ("--config", str(config), "--workers", str(workers))
        service = await asyncio.to_thread(lambda: Service(*arguments, env=env, log=log.path))
        running = Workers(service, log, mirror.mount, folder / "data")
        try:
            await log.seen("worker.ready", workers)
            yield running
        finally:
            await running.leave()
            await asyncio.to_thread(service.stop)


@contextmanager
def frozen(pids: list[int]) -> Iterator[None]:
    """Let processes stand still for the length of the context."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        while not all(_is_stopped(pid) for pid in pids):
            os.sched_yield()
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def ended(pid: int) -> None:
    """Return once a process has ended, whoever's child it is."""
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        loop.add_reader(watched, over.set)
        async with asyncio.timeout(20):
            await over.wait()
    finally:
        loop.remove_reader(watched)
        os.close(watched)


def _is_stopped(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    return state == "T"


def _holds_lock(pid: int, path: str) -> bool:
    """Say whether a process holds an exclusive flock on a file (proc(5), fdinfo)."""
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(descriptor.readlink()) != path:
                continue
            told = Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text()
        except FileNotFoundError:
            continue
        if any("FLOCK" in line and "WRITE" in line for line in told.splitlines()):
            return True
    return False

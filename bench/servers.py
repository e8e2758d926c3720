"""The servers that are compared: ours, and what people would use instead; and a slow origin.

Each is a context manager that yields a Server: where it listens and which
processes it is made of. All listen on loopback only. Run as a program, this
module is the slow origin.
"""

import asyncio
import contextlib
import http.client
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import stage  # noqa: F401 - makes `support` importable
from support.answers import Answer, answer_for, phrase
from support.faults import Fault

_REQUESTS_PATH = "-/requests"
_STEP_BYTES = 256 * 1024
_HEAD_LIMIT_BYTES = 64 * 1024
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    base: str
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process and its living children."""
        return sum(_cpu_s(pid) for pid in (self.pid, *_children(self.pid)))

    def peak_rss_bytes(self) -> int:
        """Return the largest peak memory of any of its processes."""
        return max(_peak_rss_bytes(pid) for pid in (self.pid, *_children(self.pid)))


@dataclass(frozen=True)
class Pace:
    """How slow an origin is. Rates count the bytes of bodies."""

    latency_s: float = 0.0
    """Before every answer."""
    connection_bytes_per_s: float = math.inf
    total_bytes_per_s: float = math.inf
    """Shared by all connections."""


@dataclass
class Seen:
    """A request as an origin saw it. Times are of the monotonic clock, which all processes share."""

    path: str
    is_conditional: bool
    came_s: float
    status: int = 0
    sent_bytes: int = 0
    ended_s: float = math.inf


@dataclass(frozen=True)
class SlowOrigin(Server):
    """A running origin that counts."""

    def requests(self, since_s: float = 0.0) -> list[Seen]:
        """Return the requests that came since then, those that still run included."""
        parts = urlsplit(self.base)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"/{_REQUESTS_PATH}")
            seen = [Seen(**one) for one in json.loads(connection.getresponse().read())]
        return [one for one in seen if one.came_s >= since_s]


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def ours(work: Path, upstream: str, keyring: Path, workers: int = 1) -> Iterator[Server]:
    """Run sstream-proxy in front of `upstream`, with an empty store below `work`."""
    port = free_port()
    config = write_config(work, upstream, keyring, port, workers)
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with _running(command, port) as pid:
        yield Server("sstream-proxy", f"http://127.0.0.1:{port}/m/", pid)


def write_config(work: Path, upstream: str, keyring: Path, port: int = 0, workers: int = 1) -> Path:
    """Write a configuration of ours, with the data below `work`, and return its path."""
    config = work / "config.toml"
    config.write_text(
        f'listen = ["127.0.0.1:{port}"]\ndata_dir = "{work}/data"\nworkers = {workers}\n'
        f'[cache]\nmin_free = "0 B"\n[log]\nlevel = "warning"\n'
        f'[[mirror]]\nname = "bench"\nmount = "/m/"\norigins = ["{upstream}"]\nkeyring = "{keyring}"\n'
    )
    return config


@contextlib.contextmanager
def slow_origin(root: Path, pace: Pace) -> Iterator[SlowOrigin]:
    """Serve `root` as Apache does, but no faster than `pace`, in a process of its own."""
    port = free_port()
    arguments = [str(root), str(port), *map(str, astuple(pace))]
    with _running([sys.executable, __file__, *arguments], port) as pid:
        yield SlowOrigin("slow origin", f"http://127.0.0.1:{port}/", pid)


@contextlib.contextmanager
def file_response(root: Path) -> Iterator[Server]:
    """Serve `root` by aiohttp's own FileResponse on uvloop: what one writes first."""
    port = free_port()
    program = (
        "import uvloop; from aiohttp import web; app = web.Application();"
        f"app.router.add_static('/', {str(root)!r});"
        f"web.run_app(app, host='127.0.0.1', port={port}, print=None, access_log=None,"
        "loop=uvloop.new_event_loop())"
    )
    with _running([sys.executable, "-c", program], port) as pid:
        yield Server("aiohttp FileResponse", f"http://127.0.0.1:{port}/", pid)


def has_nginx() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def nginx_static(work: Path, root: Path) -> Iterator[Server]:
    """Serve `root` by nginx: what sstream-mirror and a web server come to."""
    with _nginx(work, "nginx static", f"location / {{ root {root}; }}") as server:
        yield server


@contextlib.contextmanager
def nginx_cache(work: Path, upstream: str) -> Iterator[Server]:
    """Run nginx as an unverified cache in front of `upstream`."""
    location = (
        f"location / {{ proxy_pass {upstream}; proxy_cache bench; proxy_cache_valid 200 1h;"
        "proxy_cache_lock on; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    )
    zone = f"proxy_cache_path {work}/cache keys_zone=bench:10m max_size=20g use_temp_path=off;"
    with _nginx(work, "nginx proxy_cache", location, zone) as server:
        yield server


@contextlib.contextmanager
def _nginx(work: Path, name: str, location: str, extra: str = "") -> Iterator[Server]:
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    config = work / "nginx.conf"
    temporary = "".join(f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
    config.write_text(
        f"daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log;"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 2048; }}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; {temporary}"
        f"uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi; {extra}"
        f"server {{ listen 127.0.0.1:{port}; {location} }} }}\n"
    )
    with _running(["nginx", "-c", str(config), "-p", str(work)], port) as pid:
        yield Server(name, f"http://127.0.0.1:{port}/", pid)


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer on port {port}")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


class _Slowness:
    """The inside of the slow origin: plain sockets and sendfile, so that it costs little CPU itself."""

    def __init__(self, root: Path, pace: Pace) -> None:
        self._root = root
        self._pace = pace
        self._seen: list[Seen] = []
        self._link_free_s = 0.0

    async def serve(self, port: int) -> None:
        """Accept connections until the process is ended."""
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", port), backlog=512) as listener:
            listener.setblocking(False)
            async with asyncio.TaskGroup() as conversations:
                while True:
                    connection, _ = await loop.sock_accept(listener)
                    conversations.create_task(self._converse(connection))

    async def _converse(self, connection: socket.socket) -> None:
        """Answer the requests of one connection until its client has gone."""
        # asyncio takes a broken connection for a missing sendfile when the first byte of a step fails.
        with connection, contextlib.suppress(ConnectionError, asyncio.SendfileNotAvailableError):
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := await _read_head(connection):
                await self._answer(connection, head)

    async def _answer(self, connection: socket.socket, head: str) -> None:
        (method, target), headers = _parse_head(head)
        path = unquote(target).removeprefix("/")
        if path == _REQUESTS_PATH:
            await _send_page(connection, 200, json.dumps([asdict(one) for one in self._seen]).encode())
            return
        is_conditional = bool(headers.keys() & {"If-None-Match", "If-Modified-Since"})
        seen = Seen(path, is_conditional, time.monotonic())
        self._seen.append(seen)
        await asyncio.sleep(self._pace.latency_s)
        answer = await answer_for(self._root, path, method, headers, Fault())
        answer.body.close()
        seen.status = answer.status
        try:
            if answer.status in {200, 206}:
                await _send_head(connection, answer.status, answer.headers, answer.length_bytes)
                if method != "HEAD":
                    await self._send_body(connection, answer, seen)
            elif answer.status == 304:
                await _send_head(connection, answer.status, answer.headers, None)
            else:
                await _send_page(connection, answer.status)
        finally:
            seen.ended_s = time.monotonic()

    async def _send_body(self, connection: socket.socket, answer: Answer, seen: Seen) -> None:
        """Send the file behind an answer in steps, each when the pace lets its last byte through."""
        loop = asyncio.get_running_loop()
        started_s = time.monotonic()
        with (self._root / seen.path).open("rb", buffering=0) as file:
            file.seek(answer.start)
            while seen.sent_bytes < answer.length_bytes:
                step_bytes = min(_STEP_BYTES, answer.length_bytes - seen.sent_bytes)
                alone_s = started_s + (seen.sent_bytes + step_bytes) / self._pace.connection_bytes_per_s
                await _sleep_until(max(alone_s, self._link_time_s(step_bytes)))
                try:
                    await loop.sock_sendfile(connection, file, file.tell(), step_bytes, fallback=False)
                finally:
                    seen.sent_bytes = file.tell() - answer.start

    def _link_time_s(self, step_bytes: int) -> float:
        """Queue some bytes for the link that all connections share; return when they are through."""
        self._link_free_s = max(self._link_free_s, time.monotonic())
        self._link_free_s += step_bytes / self._pace.total_bytes_per_s
        return self._link_free_s


async def _sleep_until(moment_s: float) -> None:
    if (left_s := moment_s - time.monotonic()) > 0:
        await asyncio.sleep(left_s)


async def _read_head(connection: socket.socket) -> str:
    """Return the head of the next request, nothing when there is none; no client here sends bodies."""
    loop = asyncio.get_running_loop()
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = await loop.sock_recv(connection, _HEAD_LIMIT_BYTES)
        if not data:
            return ""
        head += data
    return head.decode("latin-1")


def _parse_head(head: str) -> tuple[tuple[str, str], dict[str, str]]:
    """Return method and target, and the headers with their names in title case."""
    first, *lines = head.strip().splitlines()
    method, target, _version = first.split()
    pairs = (line.partition(":") for line in lines)
    return (method, target), {name.title(): value.strip() for name, _, value in pairs}


async def _send_head(
    connection: socket.socket, status: int, headers: Mapping[str, str], length_bytes: int | None
) -> None:
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    if length_bytes is not None:
        lines.append(f"Content-Length: {length_bytes}")
    text = "\r\n".join([*lines, "\r\n"])
    await asyncio.get_running_loop().sock_sendall(connection, text.encode())


async def _send_page(connection: socket.socket, status: int, body: bytes = b"") -> None:
    await _send_head(connection, status, {}, len(body))
    await asyncio.get_running_loop().sock_sendall(connection, body)


def _be_slow_origin(root: str, port: str, *rates: str) -> None:
    asyncio.run(_Slowness(Path(root), Pace(*map(float, rates))).serve(int(port)))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _be_slow_origin(*sys.argv[1:])

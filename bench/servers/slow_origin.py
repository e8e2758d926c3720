"""An origin with latency and limited bandwidth that counts what it is asked for and what it sends.

Run as a program, this module is that origin.
"""

import asyncio
import contextlib
import http.client
import json
import math
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import stage  # noqa: F401 - makes `support` importable
from processes import Server, free_port, running
from support.answers import Answer, answer_for, phrase
from support.faults import Fault

_REQUESTS_PATH = "-/requests"
_STEP_BYTES = 256 * 1024
_STEP_S = 0.02
"""A connection that is slower than a step in this time is sent smaller ones."""
_HEAD_LIMIT_BYTES = 64 * 1024


@dataclass(frozen=True)
class Pace:
    """How slow an origin is. Rates count the bytes of bodies."""

    latency_s: float = 0.0
    """Before every answer."""
    connection_bytes_per_s: float = math.inf
    total_bytes_per_s: float = math.inf
    """Shared by all connections."""
    dies_after_bytes: float = math.inf
    """Once so many bytes were sent in all, every connection breaks, and so does every new one."""


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


@contextlib.contextmanager
def slow_origin(root: Path, pace: Pace) -> Iterator[SlowOrigin]:
    """Serve `root` as Apache does, but no faster than `pace`, in a process of its own."""
    port = free_port()
    arguments = [str(root), str(port), *map(str, astuple(pace))]
    with running([sys.executable, "-m", "servers.slow_origin", *arguments], port) as pid:
        yield SlowOrigin("slow origin", f"http://127.0.0.1:{port}/", pid)


class _Slowness:
    """The inside of the slow origin: plain sockets and sendfile, so that it costs little CPU itself."""

    def __init__(self, root: Path, pace: Pace) -> None:
        self._root = root
        self._pace = pace
        self._seen: list[Seen] = []
        self._link_free_s = 0.0
        self._sent_bytes = 0
        self._step_bytes = int(min(_STEP_BYTES, pace.connection_bytes_per_s * _STEP_S))

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
                request, headers = _parse_head(head)
                await self._answer(connection, request, headers)
                if headers.get("Connection") == "close":
                    break

    async def _answer(
        self, connection: socket.socket, request: tuple[str, str], headers: Mapping[str, str]
    ) -> None:
        method, target = request
        path = unquote(target).removeprefix("/")
        if path == _REQUESTS_PATH:
            await _send_page(connection, 200, json.dumps([asdict(one) for one in self._seen]).encode())
            return
        self._live()
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
                step_bytes = min(self._step_bytes, answer.length_bytes - seen.sent_bytes)
                alone_s = started_s + (seen.sent_bytes + step_bytes) / self._pace.connection_bytes_per_s
                await _sleep_until(max(alone_s, self._link_time_s(step_bytes)))
                self._live()
                self._sent_bytes += step_bytes
                try:
                    await loop.sock_sendfile(connection, file, file.tell(), step_bytes, fallback=False)
                finally:
                    seen.sent_bytes = file.tell() - answer.start

    def _live(self) -> None:
        """Raise ConnectionResetError once this origin has sent all that it sends in its life."""
        if self._sent_bytes >= self._pace.dies_after_bytes:
            raise ConnectionResetError

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

"""A real HTTP server on loopback that serves a folder as Apache does, counts, and fails on demand.

It speaks HTTP/1.1 over asyncio streams by hand, because no HTTP library lets a test reset a connection
at an exact byte, break off a chunked body or say nothing at all.
"""

import asyncio
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

from multidict import CIMultiDict

from support.answers import Answer, answer_for, is_conditional, page, phrase
from support.faults import Crowd, Fault, FaultBoard, FaultHandle, Gate, any_of, matches

__all__ = ["Fault", "FaultHandle", "Gate", "Origin", "Request"]

_BLOCK_BYTES = 256 * 1024
_RATE_STEP_S = 0.02
_REPEATED_EVERY_S = 0.02
_HEAD_LIMIT_BYTES = 64 * 1024
_TRICKLE_BYTES_S = 400.0


@dataclass(slots=True)
class Request:
    """One request as it came, and what it got so far."""

    method: str
    target: str
    """The request target as received, percent-escapes and query included."""
    headers: CIMultiDict[str] = field(default_factory=CIMultiDict)
    status: int = 0
    """0 until a status line was sent."""
    sent_bytes: int = 0
    """Body bytes sent, without the framing of chunks."""

    @property
    def path(self) -> str:
        """The decoded path without leading slash and query."""
        # Only a proxy's absolute form has a host; "//a/b" in the usual form is a path.
        path = self.target if self.target.startswith("/") else urlsplit(self.target).path
        return unquote(path.partition("?")[0]).removeprefix("/")

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to go on after this one."""
        return self.headers.get("Connection", "").lower() != "close"


class Origin:
    """The server; runs in the loop of the test as `async with Origin(folder) as origin`."""

    def __init__(self, root: Path, *, tls: ssl.SSLContext | None = None) -> None:
        self.root = root
        self.requests: list[Request] = []
        """All requests since the last `clear`, in order of arrival, unfinished ones included."""
        self.connections = 0
        """TCP connections accepted since the last `clear`."""
        self._tls = tls
        self._port = 0
        self._board = FaultBoard()
        self._gates: list[Gate] = []
        self._crowds: list[Crowd] = []
        self._server: asyncio.Server | None = None
        self._conversations: set[asyncio.Task[None]] = set()
        self._crashes: list[Exception] = []
        self._unanswered = 0
        self._change = asyncio.Condition()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()
        if self._crashes and error is None:
            raise ExceptionGroup("the origin itself broke", self._crashes)

    @property
    def url(self) -> str:
        """The address of the folder, with its final slash."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/"

    @property
    def port(self) -> int:
        """The TCP port, the same after a `stop` and a `start`."""
        return self._port

    async def start(self) -> None:
        """Listen; again on the same port after a `stop`."""
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            self._new_protocol, "127.0.0.1", self._port, ssl=self._tls, backlog=512
        )
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Go down: refuse new connections and break those that are open."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        await server.wait_closed()

    def clear(self) -> None:
        """Forget the requests seen so far."""
        self.requests.clear()
        self.connections = 0

    def gets(self, path: str) -> list[Request]:
        """List the GETs of a decoded path, which may be a pattern."""
        return [seen for seen in self.requests if seen.method == "GET" and matches(seen.path, path)]

    def count(self, path: str) -> int:
        """Count the GETs of a decoded path, which may be a pattern."""
        return len(self.gets(path))

    async def arrived(self, path: str, n: int = 1) -> None:
        """Wait until `n` requests for a path or pattern have come since the last `clear`."""
        async with self._change:
            await self._change.wait_for(lambda: sum(matches(r.path, path) for r in self.requests) >= n)

    async def idle(self) -> None:
        """Wait until every request that came was answered or given up."""
        async with self._change:
            await self._change.wait_for(lambda: self._unanswered == 0)

    def fault(self, pattern: str, fault: Fault, times: int | None = None) -> FaultHandle:
        """Misbehave from now on for paths like `pattern`, or only for the next `times` requests.

        One fault applies to a request: limited ones in the order given, then the newest unlimited one.
        """
        return self._board.add(pattern, fault, times)

    def heal(self) -> None:
        """Remove all faults; what is stalled goes on."""
        self._board.clear()
        for crowd in self._crowds:
            crowd.handle.remove()
        self._crowds.clear()

    def allow(self, pattern: str, at_once: int, fault: Fault) -> FaultHandle:
        """Answer only so many requests for a path or pattern at a time; each further one meets the fault."""
        crowd = Crowd(pattern, at_once, fault)
        self._crowds.append(crowd)
        return crowd.handle

    def gate(self, pattern: str) -> Gate:
        """Hold requests for paths like `pattern` before their status line, until the gate opens."""
        gate = Gate(pattern)
        self._gates.append(gate)
        return gate

    def _new_protocol(self) -> asyncio.StreamReaderProtocol:
        return asyncio.StreamReaderProtocol(_ClientReader(limit=_HEAD_LIMIT_BYTES), self._accept)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        conversation = asyncio.ensure_future(self._converse(reader, writer))
        self._conversations.add(conversation)
        conversation.add_done_callback(self._ended)

    def _ended(self, conversation: asyncio.Task[None]) -> None:
        self._conversations.discard(conversation)
        if not conversation.cancelled() and isinstance(crash := conversation.exception(), Exception):
            self._crashes.append(crash)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until either side is done with it."""
        assert isinstance(reader, _ClientReader)
        # What the test counts as sent must have left this process; a limit of 0 stops asyncio's TLS for ever.
        writer.transport.set_write_buffer_limits(high=1 if self._tls else 0, low=0)
        try:
            while True:
                request = await _read_request(reader)
                async with self._announced(request):
                    await self._serve(request, reader, writer)
                if not request.keep_alive:
                    break
            writer.close()
            await writer.wait_closed()
        except (ConnectionError, ssl.SSLError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.transport.abort()
            with suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    @asynccontextmanager
    async def _announced(self, request: Request) -> AsyncIterator[None]:
        """Tell those who wait that a request has come, and later that it was dealt with."""
        self.requests.append(request)
        self._unanswered += 1
        try:
            await self._announce()
            yield
        finally:
            self._unanswered -= 1
            await self._announce()

    async def _announce(self) -> None:
        async with self._change:
            self._change.notify_all()

    async def _serve(self, request: Request, reader: "_ClientReader", writer: asyncio.StreamWriter) -> None:
        for gate in tuple(self._gates):
            await gate.hold(request.path, reader.gone)
        if reader.gone.is_set():
            raise ConnectionAbortedError
        with ExitStack() as stack:
            handles = [stack.enter_context(crowd.joined(request.path)) for crowd in self._crowds]
            refusal = next((one for one in handles if one is not None), None)
            await self._answer(request, refusal or self._board.take(request.path), reader, writer)

    async def _answer(
        self,
        request: Request,
        handle: FaultHandle,
        reader: "_ClientReader",
        writer: asyncio.StreamWriter,
    ) -> None:
        if handle.fault.latency_s:
            await any_of(handle.removed, reader.gone, timeout_s=handle.fault.latency_s)
        is_refused = (
            handle.fault.refuse
            or (handle.fault.range_refuse and "Range" in request.headers)
            or (handle.fault.condition_status == 0 and is_conditional(request.headers))
        )
        if is_refused or reader.gone.is_set():
            raise ConnectionAbortedError
        if request.method.isalpha():
            answer = await answer_for(self.root, request.path, request.method, request.headers, handle.fault)
        else:
            request.headers["Connection"] = "close"
            answer = page(400)
        try:
            await _Delivery(request, answer, handle, reader.gone, writer).send()
        finally:
            answer.body.close()


class _ClientReader(asyncio.StreamReader):
    """A reader that also says when its client has left, even while nobody reads."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit=limit)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        self.gone.set()
        super().feed_eof()

    def set_exception(self, exc: Exception) -> None:
        self.gone.set()
        super().set_exception(exc)


class _Delivery:
    """Sends one answer, with everything that its fault does to it on the way."""

    def __init__(
        self,
        request: Request,
        answer: Answer,
        handle: FaultHandle,
        gone: asyncio.Event,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._request = request
        self._answer = answer
        self._handle = handle
        self._fault = handle.fault
        self._gone = gone
        self._writer = writer
        self._rate_bytes_s = handle.fault.rate_bytes_s
        self._paced_from = 0.0, 0
        """When the rate began to hold, and after how many bytes."""

    async def send(self) -> None:
        """Send status line, headers and body."""
        self._request.status = self._answer.status
        head = _head(self._answer.status, self._headers()) if self._fault.head is None else self._fault.head
        self._write(head)
        await self._writer.drain()
        if self._fault.endless is not None:
            await self._repeat(self._fault.endless)
        if self._request.method == "HEAD" or self._answer.status in {204, 304}:
            return
        self._hold_rate(self._fault.rate_bytes_s)
        for mark, event in self._fault.body_marks():
            if mark <= self._answer.length_bytes:
                await self._send_until(mark)
                await self._happen(event)
        await self._send_until(self._answer.length_bytes)
        if self._fault.chunked:
            self._write(b"0\r\n\r\n")
            await self._writer.drain()
        if self._fault.surplus is not None:
            self._write(self._fault.surplus)
            await self._writer.drain()

    def _headers(self) -> Mapping[str, str]:
        headers = CIMultiDict({"Date": formatdate(usegmt=True), "Server": "Apache/2.4.29 (Ubuntu)"})
        headers.update(self._answer.headers)
        if self._answer.status not in {204, 304}:
            if self._fault.chunked:
                headers["Transfer-Encoding"] = "chunked"
            else:
                headers["Content-Length"] = str(self._answer.length_bytes + self._fault.length_error)
        if not self._request.keep_alive:
            headers["Connection"] = "close"
        headers.update(self._fault.headers)
        return headers

    async def _send_until(self, end: int) -> None:
        while (done := self._request.sent_bytes) < end:
            await self._pace(done)
            wanted = min(self._block_bytes(), end - done)
            block = await self._answer.body.read(self._answer.start + done, wanted)
            if not block:
                raise ConnectionAbortedError("the file shrank while it was sent")
            # Counted first: once the client has the bytes, a test may look.
            self._request.sent_bytes += len(block)
            self._write(b"%x\r\n%b\r\n" % (len(block), block) if self._fault.chunked else block)
            await self._writer.drain()

    def _write(self, data: bytes) -> None:
        if self._writer.transport.is_closing():
            raise ConnectionAbortedError("the client is gone")  # uvloop has no such word for it.
        self._writer.write(data)

    def _hold_rate(self, rate_bytes_s: float | None) -> None:
        """Send no faster than this from now on."""
        self._rate_bytes_s = rate_bytes_s
        self._paced_from = asyncio.get_running_loop().time(), self._request.sent_bytes

    def _block_bytes(self) -> int:
        if self._rate_bytes_s is None or self._handle.removed.is_set():
            return _BLOCK_BYTES
        return max(1, min(_BLOCK_BYTES, int(self._rate_bytes_s * _RATE_STEP_S)))

    async def _pace(self, done: int) -> None:
        """Wait until the rate allows the byte after `done`."""
        if self._rate_bytes_s is None or self._handle.removed.is_set():
            return
        began_s, before = self._paced_from
        due_s = began_s + (done - before) / self._rate_bytes_s
        wait_s = due_s - asyncio.get_running_loop().time()
        if wait_s > 0:
            await any_of(self._handle.removed, self._gone, timeout_s=wait_s)

    async def _repeat(self, data: bytes) -> None:
        """Send the same until the client has left."""
        while not self._gone.is_set():
            self._write(data)
            await self._writer.drain()
            await any_of(self._gone, timeout_s=_REPEATED_EVERY_S)
        raise ConnectionResetError

    async def _happen(self, event: str) -> None:
        """Stall or break off, unless the fault was removed meanwhile."""
        if self._handle.removed.is_set():
            return
        if event == "trickle":
            self._handle.reached.set()
            self._hold_rate(_TRICKLE_BYTES_S)
            return
        if event == "stall":
            self._handle.reached.set()
            await any_of(self._handle.removed, self._gone)
            if self._gone.is_set():
                raise ConnectionResetError
            return
        if event == "cut":
            await _reset(self._writer)
        self._handle.reached.set()
        if event == "close":
            self._writer.close()
            await self._writer.wait_closed()
        raise ConnectionAbortedError


async def _read_request(reader: asyncio.StreamReader) -> Request:
    """Read a request and drop its body; a broken request line becomes the method, to be seen in a test."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, _, value = line.partition(":")
        headers.add(name.strip(), value.strip())
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        return Request(f"malformed: {first}", "", headers)
    if parts[2] == "HTTP/1.0":
        headers.setdefault("Connection", "close")
    await reader.readexactly(int(headers.get("Content-Length", "0")))
    return Request(parts[0], parts[1], headers)


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {phrase(status)}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _reset(writer: asyncio.StreamWriter) -> None:
    """Reset the connection once everything written has arrived, which a reset would else throw away."""
    connection: socket.socket = writer.get_extra_info("socket")
    # A twin, for the loop allows no second watcher of a descriptor that a transport owns.
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as twin:
        twin.setblocking(False)
        # With this limit a socket is writable only when the kernel holds nothing unsent.
        twin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 1)
        await _writable(twin)
        twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _writable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(connection, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_writer(connection)

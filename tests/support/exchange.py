"""One HTTP request on a connection of its own, read byte by byte.

HTTP libraries repeat a request whose connection was cut, and share connections;
tests that count requests or look at the very end of a body must see what was sent.
"""

import asyncio
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """All that came of a reply."""

    status: int
    """0 when the connection was cut before a status line."""
    headers: CIMultiDictProxy[str]
    body: bytes
    is_complete: bool
    """Whether the body has the length that the headers promise."""

    @property
    def cache_status(self) -> str:
        """The proxy's own entry of Cache-Status, without its name."""
        return self.headers.get("Cache-Status", "").removeprefix("sstream-proxy; ")


class Exchange:
    """A GET under way; use with `async with`, which sends the request and in the end hangs up."""

    def __init__(self, url: URL, **headers: str) -> None:
        self._url = url
        self._asked = {"Host": f"{url.host}:{url.port}", **headers}
        self.status = 0
        self.headers: CIMultiDict[str] = CIMultiDict()
        self.body = bytearray()
        self.received_bytes = 0
        self.is_over = False
        """Whether the connection has ended, or the body is complete."""

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            self._url.host, self._url.port, limit=_READ_BYTES
        )
        await self.send(self._url)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def send(self, url: URL) -> None:
        """Ask for another URL on the same connection, once the last reply is complete."""
        self.status, self.received_bytes, self.is_over = 0, 0, False
        self.body.clear()
        lines = [
            f"GET {url.raw_path_qs} HTTP/1.1",
            *(f"{name}: {text}" for name, text in self._asked.items()),
        ]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        await self._writer.drain()

    async def begin(self) -> int:
        """Return the status once the headers are here; 0 when the connection is cut instead."""
        try:
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except (ConnectionError, asyncio.IncompleteReadError):
            self.is_over = True
            return 0
        first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
        self.status = int(first.split(" ")[1])
        self.headers = CIMultiDict((name, text) for name, _, text in (line.partition(": ") for line in lines))
        return self.status

    @property
    def missing_bytes(self) -> int:
        """How much of the promised body has not come."""
        return int(self.headers.get("Content-Length", "0")) - self.received_bytes

    async def more(self, *, is_kept: bool = True) -> bytes:
        """Return the next bytes of the body as they arrive, none once it is over; keep them for `rest`."""
        data = b""
        try:
            if self.missing_bytes:
                data = await self._reader.read(min(_READ_BYTES, self.missing_bytes))
        except ConnectionError:
            data = b""
        self.received_bytes += len(data)
        if is_kept:
            self.body += data
        self.is_over = not data or not self.missing_bytes
        return data

    async def received(self, size_bytes: int) -> None:
        """Return once so much of the body is here. Fails if it ends before."""
        while self.received_bytes < size_bytes:
            assert await self.more(), f"the reply ended after {self.received_bytes} bytes"

    async def gets_nothing_for(self, seconds: float) -> bool:
        """Say whether no byte comes for so long."""
        try:
            async with asyncio.timeout(seconds):
                return not await self.more()
        except TimeoutError:
            return True

    async def rest(self) -> Reply:
        """Read to the end, however it ends."""
        if not self.status:
            await self.begin()
        while not self.is_over and await self.more():
            pass
        is_complete = bool(self.status) and not self.missing_bytes
        return Reply(self.status, CIMultiDictProxy(self.headers), bytes(self.body), is_complete)

    async def leave(self) -> None:
        """Hang up at once, as a client that is killed does."""
        connection: socket.socket | None = self._writer.get_extra_info("socket")
        if connection is not None and not self._writer.is_closing():
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


async def read(url: URL, **headers: str) -> Reply:
    """Request a URL and read all that comes."""
    async with Exchange(url, **headers) as exchange:
        return await exchange.rest()

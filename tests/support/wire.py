"""HTTP/1.1 by hand: what no HTTP library lets a test send, and replies exactly as they arrived."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from multidict import CIMultiDict

_PATIENCE_S = 20.0
_BLOCK_BYTES = 256 * 1024
_FIRST_FINAL = 200
_NO_BODY = {204, 304}


@dataclass
class WireReply:
    """One reply, read to its end or to where it broke off."""

    status: int
    headers: CIMultiDict[str]
    body: bytes
    is_complete: bool


class Wire:
    """One client connection; everything it waits for must come within 20 seconds."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, base: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Self]:
        """Connect to the host and port of a URL; by TLS only if `tls` is given, whatever the URL says."""
        url = urlsplit(base)
        reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=tls)
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                await writer.wait_closed()

    async def send(self, data: bytes) -> None:
        """Send bytes as one write; a peer that has closed already is no error here."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def reply(self, method: str = "GET") -> WireReply:
        """Read one final reply to a request of that method. Raises EOFError if none comes."""
        async with asyncio.timeout(_PATIENCE_S):
            try:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            except ConnectionError as error:
                raise EOFError(str(error)) from error
            status_line, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
            headers: CIMultiDict[str] = CIMultiDict()
            for line in lines:
                name, _, value = line.partition(":")
                headers.add(name, value.strip())
            status = int(status_line.split(" ")[1])
            if status < _FIRST_FINAL:
                return await self.reply(method)
            if method == "HEAD" or status in _NO_BODY:
                return WireReply(status, headers, b"", is_complete=True)
            return await self._read_body(status, headers)

    async def ask(self, target: str, method: str = "GET", version: str = "1.1", **headers: str) -> WireReply:
        """Send one request and read its reply; `_` in a header's name stands for `-`."""
        await self.send(request(target, method, version, **headers))
        return await self.reply(method)

    async def rest(self) -> bytes:
        """Read all that comes until the peer closes or resets the connection."""
        received = bytearray()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async with asyncio.timeout(_PATIENCE_S):
                while block := await self.reader.read(_BLOCK_BYTES):
                    received += block
        return bytes(received)

    async def _read_body(self, status: int, headers: CIMultiDict[str]) -> WireReply:
        """Read as many bytes as Content-Length says, and not one more."""
        left = int(headers["Content-Length"])
        body = bytearray()
        with contextlib.suppress(ConnectionError):
            while left and (block := await self.reader.read(min(left, _BLOCK_BYTES))):
                body += block
                left -= len(block)
        return WireReply(status, headers, bytes(body), is_complete=not left)


def request(target: str, method: str = "GET", version: str = "1.1", **headers: str) -> bytes:
    """Write a request head; `_` in a header's name stands for `-`. There is always a Host."""
    given = {"Host": "proxy.test", **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"{method} {target} HTTP/{version}", *(f"{name}: {value}" for name, value in given.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

"""Sending bodies to a client: files by the kernel where possible.

uvloop has no sendfile of its own, so the system call is made here, on a
duplicate of the transport's descriptor, once the transport has sent all it had.
Back-pressure is the socket's: when it is full, we wait until it is writable.
"""

import asyncio
import os
from concurrent.futures import Executor

from aiohttp.abc import AbstractStreamWriter

_PER_CALL_BYTES = 1024 * 1024
_TLS_CHUNK_BYTES = 256 * 1024


class SocketSink:
    """A plain TCP connection."""

    def __init__(self, transport: asyncio.Transport, writer: AbstractStreamWriter) -> None:
        self._transport = transport
        self._writer = writer
        self._socket_fd = -1
        self.sent_bytes = 0

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`."""
        await self._empty_transport()
        stop = offset + count
        while offset < stop:
            try:
                sent = os.sendfile(self._socket_fd, fd, offset, min(stop - offset, _PER_CALL_BYTES))
            except BlockingIOError:
                await self._writable()
                continue
            except TimeoutError as error:
                raise ConnectionResetError("the client takes nothing any more") from error
            if sent == 0:
                raise ConnectionResetError("the file ended before its promised size")
            offset += sent
            self.sent_bytes += sent
            if offset < stop:
                # Other connections must have their turn however fast this client reads.
                await asyncio.sleep(0)
                if self._transport.is_closing():
                    raise ConnectionResetError("the client is gone")

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""
        if data:
            await self._writer.write(data)
            await self._writer.drain()
            self.sent_bytes += len(data)

    def close(self) -> None:
        """Let go of the duplicate descriptor."""
        if self._socket_fd >= 0:
            os.close(self._socket_fd)
            self._socket_fd = -1

    async def _empty_transport(self) -> None:
        """Wait until headers and bytes handed to the transport have left it."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        if self._socket_fd < 0:
            # add_writer refuses a descriptor that a transport uses.
            self._socket_fd = os.dup(self._transport.get_extra_info("socket").fileno())
        while self._transport.get_write_buffer_size():
            await self._writable()
            await asyncio.sleep(0)
            if self._transport.is_closing():
                raise ConnectionResetError("the client is gone")

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_writer(self._socket_fd, _resolve, ready)
        try:
            await ready
        finally:
            loop.remove_writer(self._socket_fd)


class TlsSink:
    """A TLS connection: bytes pass through this process to be encrypted."""

    def __init__(self, writer: AbstractStreamWriter, executor: Executor | None = None) -> None:
        self._writer = writer
        self._executor = executor
        self.sent_bytes = 0

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`."""
        loop = asyncio.get_running_loop()
        stop = offset + count
        while offset < stop:
            length = min(stop - offset, _TLS_CHUNK_BYTES)
            data = await loop.run_in_executor(self._executor, os.pread, fd, length, offset)
            if not data:
                raise ConnectionResetError("the file ended before its promised size")
            await self.send_bytes(data)
            offset += len(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""
        if data:
            await self._writer.write(data)
            await self._writer.drain()
            self.sent_bytes += len(data)

    def close(self) -> None:
        """Nothing is held open."""


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

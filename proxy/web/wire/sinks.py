"""Sending bodies to a client: files by the kernel where possible.

uvloop has no sendfile of its own, so the system call is made here, on a
duplicate of the transport's descriptor, once the transport has sent all it had.
Back-pressure is the socket's: the loop calls when it takes more. A file whose
next bytes are not in the page cache is sent by a thread, which may wait for the
disk.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar, TypeVar, TypeVarTuple

from aiohttp.abc import AbstractStreamWriter

from proxy.system.page_cache import is_cached
from proxy.system.threads import ended

_PER_TURN_BYTES = 8 * 1024 * 1024
"""Shared by all transfers of a process: so much is sent before other connections have their turn."""
_LEAST_PIECE_BYTES = 512 * 1024
_CORKED_FROM_BYTES = 1024 * 1024
_FROM_DISK_BYTES = 2 * 1024 * 1024
_SAMPLED_EVERY_BYTES = 1024 * 1024
"""Pages come, by read-ahead, and go many at a time."""
_STAYS_FOR_S = 0.1
"""What was found in memory is taken to be there still, for so long."""
_TLS_CHUNK_BYTES = 256 * 1024
_CUT_OFF = {errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH}
"""What the kernel says of a connection that it has given up."""
_disk_readers = ThreadPoolExecutor(16, "send")
"""Wait for the disk while they send, and do nothing else: when it hangs, so do they, but nobody besides."""

_Args = TypeVarTuple("_Args")
_Result = TypeVar("_Result")


class SocketSink:
    """A plain TCP connection."""

    def __init__(self, transport: asyncio.Transport, writer: AbstractStreamWriter) -> None:
        self._transport = transport
        self._writer = writer
        self._socket: socket.socket | None = None
        """A duplicate: add_writer refuses a descriptor that a transport uses."""
        self.sent_bytes = 0

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`."""
        one = await self._empty_transport()
        if count < _CORKED_FROM_BYTES:
            await self._send_file(one.fileno(), fd, offset, offset + count)
        else:
            with self._full_segments(one):
                await self._send_file(one.fileno(), fd, offset, offset + count)

    async def _send_file(self, socket_fd: int, fd: int, offset: int, stop: int) -> None:
        while offset < stop:
            push = _Push(self._transport, socket_fd, fd, offset, stop)
            try:
                await push.run()
            finally:
                offset += push.sent_bytes
                self.sent_bytes += push.sent_bytes
            if not push.sent_bytes:
                length = min(stop - offset, _FROM_DISK_BYTES)
                sent = await _in_thread(self._send_waiting, socket_fd, fd, offset, length)
                offset += sent
                if not sent:
                    await _writable(socket_fd)
            if offset < stop and self._transport.is_closing():
                raise ConnectionResetError("the client is gone")

    def _send_waiting(self, socket_fd: int, fd: int, offset: int, length: int) -> int:
        """Send once, waiting for the disk but not for the client; return how many bytes went, maybe none.

        Counted here: whoever waits for it may be cancelled meanwhile.
        """
        try:
            sent = _send(socket_fd, fd, offset, length)
        except BlockingIOError:
            return 0
        self.sent_bytes += sent
        return sent

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""
        if data:
            await self._writer.write(data)
            await self._writer.drain()
            self.sent_bytes += len(data)

    def close(self) -> None:
        """Let go of the duplicate descriptor."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    async def _empty_transport(self) -> socket.socket:
        """Wait until headers and bytes handed to the transport have left it; return its socket."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        if self._socket is None:
            self._socket = _duplicate(self._transport.get_extra_info("socket"))
        while self._transport.get_write_buffer_size():
            # uvloop gives it to the socket at the end of this turn, and only what that does not take waits.
            await asyncio.sleep(0)
            if self._transport.get_write_buffer_size() and not self._transport.is_closing():
                await _writable(self._socket.fileno())
            if self._transport.is_closing():
                raise ConnectionResetError("the client is gone")
        return self._socket

    @contextlib.contextmanager
    def _full_segments(self, one: socket.socket) -> Iterator[None]:
        """Have the kernel hold back what fills no segment, for the length of the context: TCP_CORK, tcp(7).

        Otherwise it sends a short one for every 16 pages; a fifth of the CPU time goes into that.
        """
        if one.family not in {socket.AF_INET, socket.AF_INET6}:
            yield
            return
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        try:
            yield
        finally:
            if not self._transport.is_closing():
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


class _Push:
    """Sends what is in memory of one part of a file, piece by piece.

    Pieces, because other connections must have their turn however fast clients
    read. The next one is tried at once while the socket takes whole ones: it
    counts as writable only when it is almost empty, too late for a fast client.
    """

    _running: ClassVar[int] = 0
    """How many there are in this process: they share a turn of its event loop."""

    def __init__(self, transport: asyncio.Transport, socket_fd: int, fd: int, offset: int, stop: int) -> None:
        self._transport = transport
        self._socket_fd = socket_fd
        self._fd = fd
        self._offset = offset
        self._stop = stop
        self.sent_bytes = 0
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._is_next_due = False
        self._is_watched = False
        self._reach_bytes = _PER_TURN_BYTES
        """No more than the socket may take: whatever is sent has to be looked for in memory first."""
        self._found_up_to = offset
        self._found_until_s = 0.0
        """When that is doubted again, by the loop's clock."""

    async def run(self) -> None:
        """Send until the end, or up to what the disk has to be waited for."""
        _Push._running += 1
        try:
            self._send_piece()
            await self._over
        finally:
            _Push._running -= 1
            self._over.cancel()
            if self._is_watched:
                self._loop.remove_writer(self._socket_fd)

    def _send_piece(self) -> None:
        self._is_next_due = False
        if self._over.done():
            return
        share_bytes = max(_LEAST_PIECE_BYTES, _PER_TURN_BYTES // _Push._running)
        length = min(self._stop - self._offset, share_bytes, self._reach_bytes)
        sent = 0
        try:
            if not self._is_in_memory(self._offset + length):
                self._over.set_result(None)
                return
            sent = _send(self._socket_fd, self._fd, self._offset, length)
        except BlockingIOError:
            pass
        except OSError as error:
            self._over.set_exception(error)
            return
        self._offset += sent
        self.sent_bytes += sent
        self._reach_bytes = max(_LEAST_PIECE_BYTES, 2 * sent)
        if self._offset == self._stop or self._transport.is_closing():
            self._over.set_result(None)
        elif sent == length:
            self._is_next_due = True
            self._loop.call_soon(self._send_piece)
        elif not self._is_watched:
            self._is_watched = True
            self._loop.add_writer(self._socket_fd, self._go_on)

    def _is_in_memory(self, stop: int) -> bool:
        """Whether what comes next is in the page cache, looking only for what was not found just now."""
        now_s = self._loop.time()
        if now_s >= self._found_until_s:
            self._found_up_to = self._offset
            self._found_until_s = now_s + _STAYS_FOR_S
        if stop > self._found_up_to:
            if not is_cached(self._fd, self._found_up_to, stop, _SAMPLED_EVERY_BYTES):
                return False
            self._found_up_to = stop
        return True

    def _go_on(self) -> None:
        if not self._is_next_due:
            self._send_piece()


class TlsSink:
    """A TLS connection: bytes pass through this process to be encrypted."""

    def __init__(self, writer: AbstractStreamWriter) -> None:
        self._writer = writer
        self.sent_bytes = 0

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file from `offset`."""
        stop = offset + count
        while offset < stop:
            length = min(stop - offset, _TLS_CHUNK_BYTES)
            data = await _in_thread(os.pread, fd, length, offset)
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


def _duplicate(one: socket.socket) -> socket.socket:
    """Return a socket of its own for another descriptor of the same connection."""
    return socket.socket(one.family, one.type, one.proto, fileno=os.dup(one.fileno()))


async def _writable(socket_fd: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_writer(socket_fd, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_writer(socket_fd)


def _send(socket_fd: int, fd: int, offset: int, length: int) -> int:
    try:
        sent = os.sendfile(socket_fd, fd, offset, length)
    except OSError as error:
        if error.errno in _CUT_OFF:
            raise ConnectionResetError("the client takes nothing any more") from error
        raise
    if sent == 0:
        raise ConnectionResetError("the file ended before its promised size")
    return sent


async def _in_thread(function: Callable[[*_Args], _Result], *args: *_Args) -> _Result:
    """Run a function in a thread to its end, even when cancelled: until then its descriptors stay open."""
    call = asyncio.get_running_loop().run_in_executor(_disk_readers, function, *args)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        await ended(call)
        raise


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)

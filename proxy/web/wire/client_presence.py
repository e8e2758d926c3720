"""Whether the client of a connection is still there, for whoever works on its reply.

Work for a client that has left ends where it waits: it would hold memory, and a
transfer that may be nobody else's. A client that is there notices nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web

from proxy.fills.bodies import Sink


class ClientLeft(ConnectionResetError):
    """The client hung up before its reply was complete."""


class ClientPresence:
    """One client's, from its connection to its leaving."""

    def __init__(self) -> None:
        self._is_over = False
        self._working: asyncio.Task[object] | None = None

    @contextlib.contextmanager
    def needed(self) -> Iterator[None]:
        """End what is done in the context, by ClientLeft, as soon as the client leaves."""
        if self._is_over:
            raise ClientLeft
        task = asyncio.current_task()
        self._working = task
        try:
            yield
        except asyncio.CancelledError:
            if task is None or not self._is_over or task.uncancel():
                raise
            raise ClientLeft from None
        finally:
            self._working = None

    @contextlib.contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Let what is done in the context come to its end: sending finds out by itself who has left.

        A client may leave as soon as it has everything, before we know that it has.
        """
        task, self._working = self._working, None
        try:
            yield
        finally:
            self._working = task
            if self._is_over:
                asyncio.get_running_loop().call_soon(self._interrupt)

    def end(self) -> None:
        """Take note that the client has left."""
        self._is_over = True
        self._interrupt()

    def _interrupt(self) -> None:
        if self._working is not None:
            self._working.cancel()


class UndisturbedSink:
    """A sink whose every piece is sent to its end, or to where sending fails."""

    def __init__(self, sink: Sink, presence: ClientPresence) -> None:
        self._sink = sink
        self._presence = presence

    async def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a file."""
        with self._presence.undisturbed():
            await self._sink.send_file(fd, offset, count)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes from memory."""
        with self._presence.undisturbed():
            await self._sink.send_bytes(data)


def presence_of(request: web.BaseRequest) -> ClientPresence:
    """Return the presence of a request's client."""
    presence = getattr(request.protocol, "presence", None)
    return presence if isinstance(presence, ClientPresence) else ClientPresence()

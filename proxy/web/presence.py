"""Whether the client of a connection is still there, for whoever works on its reply.

Work for a client that has left ends where it waits: it would hold memory, and a
transfer that may be nobody else's. A client that is there notices nothing.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from aiohttp import web


class ClientLeft(ConnectionResetError):
    """The client hung up before its reply was complete."""


class Presence:
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

    def end(self) -> None:
        """Take note that the client has left."""
        self._is_over = True
        if self._working is not None:
            self._working.cancel()


def presence_of(request: web.BaseRequest) -> Presence:
    """Return the presence of a request's client."""
    presence = getattr(request.protocol, "presence", None)
    return presence if isinstance(presence, Presence) else Presence()

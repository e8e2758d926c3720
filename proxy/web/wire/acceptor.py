"""Taking new connections from a listening socket on which other processes listen, too.

All of them see a client that waits. One that has more than its share of the
connections leaves it to another for a moment, and takes it if nobody else does: so a
process that hangs, or is busy, makes no client wait for long. The next ones that it takes
so it takes one by one, for a process that is merely late. Connections that ended just before
are no part of its share: their ends are dealt with first. Knows nothing of what is spoken on
a connection.
"""

import asyncio
import errno
import logging
import select
import socket
from collections.abc import Callable
from typing import Protocol

log = logging.getLogger(__name__)

_BACKLOG = 1024
_MOST_IN_A_TURN = 64
"""Connections, before those that are open have their turn."""
_LOOK_EVERY_S = 0.001
_LACKING_PAUSE_S = 0.25
_LACKING = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Share(Protocol):
    """What one process has of the connections of all."""

    def leaves_for_s(self) -> float:
        """Return for how long a client that waits is left to others; 0 if it is this process's turn."""

    def took(self) -> None:
        """Note that it took one."""

    def passed_over(self) -> None:
        """Note that those whose turn it was took nothing: for some time they are hardly waited for."""

    def told(self, connections: int) -> None:
        """Note how many it has."""

    def leave(self) -> None:
        """Note that it takes no more."""


class Alone:
    """The share of a process that has no others beside it."""

    def leaves_for_s(self) -> float:
        """Leave nothing to others."""
        return 0.0

    def took(self) -> None:
        """Tell nobody."""

    def passed_over(self) -> None:
        """Wait for nobody."""

    def told(self, connections: int) -> None:
        """Tell nobody."""

    def leave(self) -> None:
        """Leave nothing to others."""


class Acceptor:
    """Takes connections from one listening socket, which is its own to close in this process."""

    def __init__(
        self, listener: socket.socket, share: Share, taken: Callable[[socket.socket, socket.socket], None]
    ) -> None:
        self._listener = listener
        self._share = share
        self._taken = taken
        """Told of each connection: by which listening socket it came, and the connection."""
        self._loop = asyncio.get_running_loop()
        self._is_listening = False
        self._later: asyncio.Handle | None = None
        self._left_at_s: float | None = None
        """When a client that waits was left to others."""
        self._waiting = select.poll()
        self._waiting.register(listener, select.POLLIN)
        listener.setblocking(False)
        listener.listen(_BACKLOG)
        self._listen()

    def close(self) -> None:
        """Take no more."""
        self._cease()
        if self._later is not None:
            self._later.cancel()
        self._listener.close()

    def _listen(self) -> None:
        self._left_at_s = None
        if not self._is_listening:
            self._is_listening = True
            self._loop.add_reader(self._listener, self._come)

    def _cease(self) -> None:
        if self._is_listening:
            self._is_listening = False
            self._loop.remove_reader(self._listener)

    def _come(self) -> None:
        """Take those who wait, but not in the next turn of the event loop, in which connections end."""
        if self._later is None:
            self._later = self._loop.call_soon(self._come_nearer)

    def _come_nearer(self) -> None:
        self._later = self._loop.call_soon(self._take)

    def _take(self) -> None:
        """Take those who wait, as far as it is our turn."""
        self._later = None
        for _ in range(_MOST_IN_A_TURN):
            patience_s = self._share.leaves_for_s()
            if patience_s:
                if not self._has_left_it_for(patience_s):
                    self._look_again_in(_LOOK_EVERY_S)
                    return
                self._share.passed_over()
            try:
                one, _ = self._listener.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in _LACKING:
                    log.warning("connections.not_taken problem=%s", error)
                    self._look_again_in(_LACKING_PAUSE_S)
                    return
                if error.errno == errno.EINVAL:  # The supervisor has closed the port for everybody.
                    self._cease()
                    return
                continue  # The client has left already.
            self._left_at_s = None
            self._share.took()
            self._taken(self._listener, one)
        self._listen()

    def _has_left_it_for(self, seconds: float) -> bool:
        now_s = self._loop.time()
        if self._left_at_s is None:
            self._left_at_s = now_s
        return now_s - self._left_at_s >= seconds

    def _look_again_in(self, seconds: float) -> None:
        self._cease()
        self._later = self._loop.call_later(seconds, self._look_again)

    def _look_again(self) -> None:
        if self._waiting.poll(0):
            self._take()
        else:
            self._later = None
            self._listen()

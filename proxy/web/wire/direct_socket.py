"""The socket of a plain connection, beside its transport: it takes at once what it has room for.

Most replies fit, and the transport would copy them, and cannot send from a file.
Knows nothing of requests.
"""

import os
import socket
from asyncio import BaseTransport

from proxy.web.wire.prepared import WireBytes


class DirectSocket:
    """Sends on a transport's descriptor, which it does not own."""

    __slots__ = ("_fd", "_socket", "_transport")

    def __init__(self, transport: BaseTransport) -> None:
        self._transport = transport
        self._fd: int = transport.get_extra_info("socket").fileno()
        self._socket: socket.socket | None = None
        """Of the same descriptor, from the first file that is sent."""

    def send(self, wire: WireBytes) -> int:
        """Send what the kernel takes now; return how much of head and body that was.

        The transport finds out whatever is wrong with the connection.
        """
        sent_bytes = 0
        try:
            if wire.fd < 0:
                return os.write(self._fd, wire.content)
            # The head waits in the kernel for the body, or they would not share a segment.
            sent_bytes = self._whole_socket().send(wire.content, socket.MSG_MORE)
            if sent_bytes == len(wire.content):
                sent_bytes += os.sendfile(self._fd, wire.fd, wire.offset, wire.body_bytes)
        except OSError:
            pass
        return sent_bytes

    def let_go(self) -> None:
        """Leave the descriptor to the transport, which closes it."""
        if self._socket is not None:
            self._socket.detach()
            self._socket = None

    def _whole_socket(self) -> socket.socket:
        if self._socket is None:
            info = self._transport.get_extra_info("socket")
            self._socket = socket.socket(info.family, info.type, info.proto, fileno=self._fd)
            self._socket.setblocking(False)
        return self._socket

"""How much the kernel takes ahead of us on a connection whose bytes we limit.

Left to itself it takes megabytes at once, past the limit, before the origin has to wait.
"""

import contextlib
import math
import socket
import struct

_INFO = struct.Struct("60xI4xI")
"""Of Linux's struct tcp_info: tcpi_pmtu, and tcpi_rtt in microseconds."""
_SO_BUF_LOCK = 72
"""Linux 5.14 and later: 0 lets the kernel size the buffer again."""
_LEAST_BYTES = 64 * 1024
_LEAST_PACKETS = 4
"""A window of fewer opens in jerks: neither side cares for less than a packet."""
_SPARE_S = 0.02
_LONGEST_S = 0.25


def bound_window(connection: socket.socket, rate_bytes_s: float) -> None:
    """Let the kernel take what that rate needs on this way, twice over, and no more; any for infinity."""
    if math.isinf(rate_bytes_s):
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)
        return
    packet_bytes, rtt_us = _INFO.unpack(
        connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size)
    )
    needed_bytes = int(rate_bytes_s * min(2 * rtt_us / 1e6 + _SPARE_S, _LONGEST_S))
    wanted_bytes = max(needed_bytes, _LEAST_BYTES, _LEAST_PACKETS * packet_bytes)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted_bytes)
    if connection.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) < wanted_bytes:
        # net.core.rmem_max allows less than the rate needs.
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, _SO_BUF_LOCK, 0)

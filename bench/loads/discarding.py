"""Many requests a second for a long reply, over connections that stay open; the kernel discards the bodies.

wrk reads 8 KiB at a time, which takes longer than sending them: it would be measured
instead of the server. Here heads are read, and checked; of bodies the kernel says how
much has come (MSG_TRUNC, tcp(7)). Run as a program, this module is that client.
"""

import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from figures import percentile
from processes import HERE, LOAD_CPUS, Server

_MOST_HEAD_BYTES = 4096
_BUFFER_BYTES = 1024 * 1024
_PATIENCE_S = 10.0
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"\r\ncontent-length:"


class Report(NamedTuple):
    """What the client tells of a run."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float


def load(server: Server, path: str, seconds: float, *, connections: int = 32) -> Mapping[str, float]:
    """Ask a server for one path all the time; return rate, CPU and latencies, as `wrk.load` does."""
    command = [sys.executable, "-m", "loads.discarding", server.base + path, str(seconds), str(connections)]
    before_s = server.cpu_s()
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    cpu_s = server.cpu_s() - before_s
    if done.returncode:
        raise SystemExit(f"{server.name} failed under load: {done.stderr[-2000:]}")
    report = Report(*json.loads(done.stdout))
    return {
        "requests/s": report.requests / report.seconds,
        "CPU ms/1000": cpu_s / report.requests * 1e6,
        "p50 ms": report.p50_ms,
        "p99 ms": report.p99_ms,
    }


class Asker:
    """One connection: asks, takes the reply, asks again. A server may close it between two replies."""

    def __init__(self, url: str, buffer: bytearray, body_lengths: dict[bytes, int]) -> None:
        """Share the buffer, and what heads that were seen say of their bodies, with others."""
        parts = urlsplit(url)
        self._address = (parts.hostname or "", parts.port or 80)
        self._request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
        self._buffer = buffer
        self._body_lengths = body_lengths
        self._left_bytes: int | None = None
        """Of the body; None before its head has come."""
        self._asked_at_s = 0.0
        self.latencies_s: list[float] = []

    def begin(self) -> int:
        """Connect and ask; return the connection's descriptor."""
        self._socket = socket.create_connection(self._address, _PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._ask()
        return self._socket.fileno()

    def take(self) -> bool:
        """Take what has come, and ask again after the end of a reply; False when the server has closed."""
        if self._left_bytes is None:
            data = self._socket.recv(_MOST_HEAD_BYTES)
            if not data:
                return False
            head, end, body = data.partition(_HEAD_END)
            if not end:
                raise SystemExit(f"no whole head in {data[:200]!r}")
            length = self._body_lengths.get(head)
            if length is None:
                length = self._body_lengths[head] = body_length(head)
            self._left_bytes = length - len(body)
        if self._left_bytes:
            most_bytes = min(self._left_bytes, _BUFFER_BYTES)
            try:
                count = self._socket.recv_into(self._buffer, most_bytes, socket.MSG_TRUNC)
            except BlockingIOError:
                return True
            if not count:
                raise SystemExit("the server closed a connection within a reply")
            self._left_bytes -= count
        if not self._left_bytes:
            self.latencies_s.append(time.perf_counter() - self._asked_at_s)
            self._ask()
        return True

    def end(self) -> None:
        """Close the connection."""
        self._socket.close()

    def _ask(self) -> None:
        self._left_bytes = None
        self._asked_at_s = time.perf_counter()
        self._socket.send(self._request)


def body_length(head: bytes) -> int:
    """Return how long the body is, by the head of a reply. Ends everything when it is not a good one."""
    _, found, rest = head.lower().partition(_LENGTH)
    if head.split(b" ", 2)[1:2] != [b"200"] or not found:
        raise SystemExit(f"not a reply with a length: {head!r}")
    return int(rest.partition(b"\r\n")[0])


def _ask_all_the_time(url: str, seconds: float, connections: int) -> Report:
    buffer, body_lengths = bytearray(_BUFFER_BYTES), dict[bytes, int]()
    ready = select.epoll()
    began_s = time.perf_counter()
    askers: dict[int, Asker] = {}

    def begin(asker: Asker) -> None:
        descriptor = asker.begin()
        askers[descriptor] = asker
        ready.register(descriptor, select.EPOLLIN)

    everybody = [Asker(url, buffer, body_lengths) for _ in range(connections)]
    for one in everybody:
        begin(one)
    while time.perf_counter() - began_s < seconds:
        events = ready.poll(_PATIENCE_S)
        if not events:
            raise SystemExit(f"no reply within {_PATIENCE_S:.0f} s")
        for descriptor, _ in events:
            asker = askers[descriptor]
            if not asker.take():
                del askers[descriptor]
                asker.end()
                begin(asker)
    took_s = time.perf_counter() - began_s
    values_ms = [value_s * 1000 for one in everybody for value_s in one.latencies_s]
    if not values_ms:
        raise SystemExit(f"no whole reply within {seconds} s")
    return Report(len(values_ms), took_s, percentile(values_ms, 0.5), percentile(values_ms, 0.99))


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    print(json.dumps(_ask_all_the_time(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))))

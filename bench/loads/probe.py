"""A probe: small requests at fixed moments over one connection, timed from outside the server.

Run as a program, this module is the probe; it ends when its standard input does.
"""

import contextlib
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from figures import percentile
from processes import HERE, LOAD_CPUS

_EVERY_S = 0.005
_PRIORITY = -10


@dataclass(frozen=True)
class Latencies:
    """How long requests that came at fixed moments would have waited, in milliseconds."""

    values_ms: Sequence[float]

    @property
    def p50_ms(self) -> float:
        """The median."""
        return percentile(self.values_ms, 0.5)

    @property
    def p99_ms(self) -> float:
        """What one in a hundred exceeds."""
        return percentile(self.values_ms, 0.99)

    @property
    def worst_ms(self) -> float:
        """The longest."""
        return max(self.values_ms)

    def figures(self) -> dict[str, float]:
        """Return all of these as a row's figures."""
        return {"lag p50 ms": self.p50_ms, "lag p99 ms": self.p99_ms, "lag worst ms": self.worst_ms}


@contextlib.contextmanager
def probing(url: str, every_s: float = _EVERY_S) -> Iterator[Callable[[], Latencies]]:
    """Probe a URL in another process; what is yielded ends it and returns what it saw."""
    command = [sys.executable, "-m", "loads.probe", url, str(every_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit(f"{url} cannot be probed")

        def end() -> Latencies:
            told, _ = process.communicate()
            return Latencies(json.loads(told))

        yield end


def _probe(url: str, every_s: float) -> list[float]:
    """Ask until standard input ends; return the latencies in milliseconds.

    One request is under way at a time, so that the probe never waits for itself.
    """
    parts = urlsplit(url)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    latencies_ms: list[float] = []
    with socket.create_connection((parts.hostname or "", parts.port or 80), 60) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _ask(one, request)
        print("ready", flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            began = time.perf_counter()
            _ask(one, request)
            took_s = time.perf_counter() - began
            latencies_ms += with_those_not_sent(took_s * 1000, every_s * 1000)
            time.sleep(max(0.0, every_s - took_s))
    return latencies_ms


def with_those_not_sent(took_ms: float, every_ms: float) -> list[float]:
    """Return a latency, and those of the requests that would have been sent while it was waited for.

    Without them a long pause would count as one slow request among many fast ones
    ("coordinated omission").
    """
    missed = int(took_ms / every_ms)
    return [took_ms - number * every_ms for number in range(missed + 1)]


def _ask(one: socket.socket, request: bytes) -> None:
    one.sendall(request)
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += _receive(one)
    head, _, body = reply.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").lower().split("\r\n")
    if " 200" not in lines[0]:
        raise SystemExit(lines[0])
    left_bytes = next(int(text[15:]) for text in lines if text.startswith("content-length:")) - len(body)
    while left_bytes > 0:
        left_bytes -= len(_receive(one))


def _receive(one: socket.socket) -> bytes:
    data = one.recv(65536)
    if not data:
        raise SystemExit("the server closed the connection")
    return data


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    # The probe must not wait for the CPU behind the load; only root may ask for that.
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    print(json.dumps(_probe(sys.argv[1], float(sys.argv[2]))))

"""Many clients that read slowly, each at a fixed rate, from one process that costs little.

Run as a program, this module is that process; it ends when its standard input does.
"""

import contextlib
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from processes import HERE, LOAD_CPUS

_TURN_S = 0.125
_RECEIVE_BUFFER_BYTES = 128 * 1024
"""What the kernel doubles, and takes in ahead of the client."""


@contextlib.contextmanager
def slow_clients(url: str, clients: int, bytes_per_s: int) -> Iterator[Callable[[], float]]:
    """Run clients that read `url` slowly; what is yielded ends them and returns all their bytes a second.

    All of them have had their first bytes when this is entered.
    """
    command = [sys.executable, "-m", "loads.paced", url, str(clients), str(bytes_per_s)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE
    ) as process:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise SystemExit(f"{url}: the slow clients did not get through")

        def end() -> float:
            told, _ = process.communicate()
            return float(json.loads(told))

        yield end


def _read_slowly(url: str, clients: int, bytes_per_s: int) -> float:
    """Let every client read its share each turn, until standard input ends; return what was reached."""
    sockets = [_connect(url) for _ in range(clients)]
    turn_bytes = int(bytes_per_s * _TURN_S)
    buffer = bytearray(turn_bytes)
    for one in sockets:
        if not one.recv(65536).startswith(b"HTTP/1.1 200"):
            raise SystemExit("a slow client was refused")
        one.setblocking(False)
    print("ready", flush=True)
    began = turn = time.perf_counter()
    total_bytes = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for number, one in enumerate(sockets):
            due = turn + _TURN_S * number / clients
            if number % 16 == 0 and (left_s := due - time.perf_counter()) > 0:
                time.sleep(left_s)
            with contextlib.suppress(BlockingIOError):
                count = one.recv_into(buffer, turn_bytes, socket.MSG_TRUNC)
                if not count:
                    raise SystemExit("a slow client was cut off, or the item ended: make it longer")
                total_bytes += count
        turn = max(turn + _TURN_S, time.perf_counter() - _TURN_S)
    return total_bytes / (time.perf_counter() - began)


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    one.settimeout(60)
    one.connect((parts.hostname or "", parts.port or 80))
    one.sendall(f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    return one


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    print(json.dumps(_read_slowly(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))

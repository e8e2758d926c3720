"""The load of whole downloads: plain sockets that cost little, in a process of their own.

Bodies are thrown away inside the kernel (MSG_TRUNC, tcp(7)), so that what is
measured is the server and not the client's copying. Run as a program, this
module is that process: a JSON list of URLs and a number of clients on standard
input, the downloads on standard output.
"""

import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit

from processes import HERE, LOAD_CPUS

_BUFFER_BYTES = 1024 * 1024
_DISCARD = socket.MSG_TRUNC | socket.MSG_WAITALL
_PATIENCE_S = 120


class Download(NamedTuple):
    """What one GET came to."""

    status: int
    body_bytes: int
    first_byte_s: float
    """From before the connection until the first byte of the body."""
    seconds: float
    digest: str
    """sha256 in hex if it was asked for."""


def download(url: str, *, check: bool = False) -> Download:
    """GET one URL on a connection of its own; hash the body when `check`. https is not verified."""
    parts = urlsplit(url)
    hasher = sha256()
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    flags = 0 if check or parts.scheme == "https" else _DISCARD
    started = time.perf_counter()
    with _connect(url) as one:
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        one.sendall(f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode())
        head = b""
        while b"\r\n\r\n" not in head or head.endswith(b"\r\n\r\n"):
            data = one.recv(65536)
            if not data:
                break
            head += data
        if not head:
            raise ConnectionError(f"{url}: no answer")
        first_byte_s = time.perf_counter() - started
        head, _, body = head.partition(b"\r\n\r\n")
        body_bytes = len(body)
        if check:
            hasher.update(body)
        while count := one.recv_into(buffer, _BUFFER_BYTES, flags):
            body_bytes += count
            if check:
                hasher.update(view[:count])
    seconds = time.perf_counter() - started
    digest = hasher.hexdigest() if check else ""
    return Download(int(head.split()[1]), body_bytes, first_byte_s, seconds, digest)


def download_all(urls: list[str], clients: int = 1) -> tuple[list[Download], float]:
    """GET all URLs from another process, `clients` at a time; return the downloads and the wall seconds."""
    done = subprocess.run(
        [sys.executable, "-m", "clients"],
        input=json.dumps([urls, clients]),
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE,
    )
    if done.returncode != 0:
        raise SystemExit(f"the load failed:\n{done.stderr[-2000:]}")
    downloads, wall_s = json.loads(done.stdout)
    return [Download(*one) for one in downloads], wall_s


def expect_sizes(downloads: list[Download], sizes_bytes: list[int], server: str) -> None:
    """Stop everything when a server did not send whole bodies: its speed means nothing then."""
    for got, size_bytes in zip(downloads, sizes_bytes, strict=True):
        if (got.status, got.body_bytes) != (200, size_bytes):
            raise SystemExit(f"{server} sent {got.body_bytes} bytes with {got.status}, not {size_bytes}")


def _connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    one = socket.create_connection((parts.hostname or "", parts.port or 80), _PATIENCE_S)
    # Blocking without Python's poll before each call: the timeout is the kernel's.
    one.settimeout(None)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", _PATIENCE_S, 0))
    if parts.scheme != "https":
        return one
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(one)


def _download_at_once(urls: list[str], clients: int) -> tuple[list[Download], float]:
    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        downloads = list(pool.map(download, urls))
        return downloads, time.perf_counter() - started


if __name__ == "__main__":
    os.sched_setaffinity(0, LOAD_CPUS)
    print(json.dumps(_download_at_once(*json.load(sys.stdin))))

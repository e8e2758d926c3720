"""The load: plain sockets that read as fast as they can and keep nothing."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import urlsplit

_BUFFER_BYTES = 1024 * 1024


class Download(NamedTuple):
    """What one GET came to."""

    status: int
    body_bytes: int
    first_byte_s: float
    seconds: float
    digest: str


def download(url: str, *, check: bool = False) -> Download:
    """GET one URL on a connection of its own; hash the body when `check`."""
    parts = urlsplit(url)
    hasher = sha256()
    buffer = bytearray(_BUFFER_BYTES)
    view = memoryview(buffer)
    started = time.perf_counter()
    with socket.create_connection((parts.hostname or "", parts.port or 80), 60) as one:
        one.sendall(
            f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            data = one.recv(65536)
            if not data:
                raise ConnectionError(f"{url}: no answer")
            head += data
        first_byte_s = time.perf_counter() - started
        head, _, body = head.partition(b"\r\n\r\n")
        body_bytes = len(body)
        if check:
            hasher.update(body)
        while count := one.recv_into(buffer):
            body_bytes += count
            if check:
                hasher.update(view[:count])
    seconds = time.perf_counter() - started
    return Download(int(head.split()[1]), body_bytes, first_byte_s, seconds, hasher.hexdigest())


def download_all(urls: list[str], clients: int) -> tuple[list[Download], float]:
    """GET all URLs, `clients` at a time; return the downloads and the wall time in seconds."""
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        downloads = list(pool.map(download, urls))
    return downloads, time.perf_counter() - started

"""Varnish, its cache in memory."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processes import Server, free_port, running


@contextlib.contextmanager
def varnish_cache(work: Path, upstream: str) -> Iterator[Server]:
    """Cache whatever `upstream`, a server's root, sends."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    command = ["varnishd", "-F", "-j", "none", "-n", str(work), "-a", f"127.0.0.1:{port}"]
    command += ["-b", f"127.0.0.1:{urlsplit(upstream).port}", "-s", "malloc,2G", "-t", "3600"]
    with running(command, port) as pid:
        yield Server("Varnish", f"http://127.0.0.1:{port}/", pid)

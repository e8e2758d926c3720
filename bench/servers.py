"""The servers that are compared: ours, and what people would use instead.

Each is a context manager that yields a Server: where it listens and which
processes it is made of. All listen on loopback only.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A running server."""

    name: str
    base: str
    pid: int

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process and its living children."""
        return sum(_cpu_s(pid) for pid in (self.pid, *_children(self.pid)))

    def peak_rss_bytes(self) -> int:
        """Return the largest peak memory of any of its processes."""
        return max(_peak_rss_bytes(pid) for pid in (self.pid, *_children(self.pid)))


def free_port() -> int:
    """Return a loopback port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextlib.contextmanager
def ours(work: Path, upstream: str, keyring: Path, workers: int = 1) -> Iterator[Server]:
    """Run sstream-proxy in front of `upstream`, with an empty store below `work`."""
    port = free_port()
    config = work / "config.toml"
    config.write_text(
        f'listen = ["127.0.0.1:{port}"]\ndata_dir = "{work}/data"\nworkers = {workers}\n'
        f'[cache]\nmin_free = "0 B"\n[log]\nlevel = "warning"\n'
        f'[[mirror]]\nname = "bench"\nmount = "/m/"\norigins = ["{upstream}"]\nkeyring = "{keyring}"\n'
    )
    command = [sys.executable, "-m", "proxy", "serve", "--config", str(config)]
    with _running(command, port) as pid:
        yield Server("sstream-proxy", f"http://127.0.0.1:{port}/m/", pid)


@contextlib.contextmanager
def file_response(root: Path) -> Iterator[Server]:
    """Serve `root` by aiohttp's own FileResponse on uvloop: what one writes first."""
    port = free_port()
    program = (
        "import uvloop; from aiohttp import web; app = web.Application();"
        f"app.router.add_static('/', {str(root)!r});"
        f"web.run_app(app, host='127.0.0.1', port={port}, print=None, access_log=None,"
        "loop=uvloop.new_event_loop())"
    )
    with _running([sys.executable, "-c", program], port) as pid:
        yield Server("aiohttp FileResponse", f"http://127.0.0.1:{port}/", pid)


def has_nginx() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def nginx_static(work: Path, root: Path) -> Iterator[Server]:
    """Serve `root` by nginx: what sstream-mirror and a web server come to."""
    with _nginx(work, "nginx static", f"location / {{ root {root}; }}") as server:
        yield server


@contextlib.contextmanager
def nginx_cache(work: Path, upstream: str) -> Iterator[Server]:
    """Run nginx as an unverified cache in front of `upstream`."""
    location = (
        f"location / {{ proxy_pass {upstream}; proxy_cache bench; proxy_cache_valid 200 1h;"
        "proxy_cache_lock on; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    )
    zone = f"proxy_cache_path {work}/cache keys_zone=bench:10m max_size=20g use_temp_path=off;"
    with _nginx(work, "nginx proxy_cache", location, zone) as server:
        yield server


@contextlib.contextmanager
def _nginx(work: Path, name: str, location: str, extra: str = "") -> Iterator[Server]:
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    config = work / "nginx.conf"
    temporary = "".join(f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi"))
    config.write_text(
        f"daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/error.log;"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 2048; }}\n"
        f"http {{ access_log off; sendfile on; tcp_nopush on; {temporary}"
        f"uwsgi_temp_path {work}/uwsgi; scgi_temp_path {work}/scgi; {extra}"
        f"server {{ listen 127.0.0.1:{port}; {location} }} }}\n"
    )
    with _running(["nginx", "-c", str(config), "-p", str(work)], port) as pid:
        yield Server(name, f"http://127.0.0.1:{port}/", pid)


@contextlib.contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args!r} does not answer on port {port}")


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S


def _peak_rss_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0

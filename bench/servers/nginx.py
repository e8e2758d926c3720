"""nginx: static files as sstream-mirror leaves them, or a cache that verifies nothing."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import stage  # noqa: F401 - makes `support` importable
from processes import Server, free_port, running
from support.certificates import Certificate

_REMEMBER_FILES = "open_file_cache max=10000 inactive=60s; open_file_cache_valid 60s;"


def has_nginx() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def nginx_static(
    work: Path,
    root: Path,
    *,
    workers: int = 1,
    remember_files: bool = False,
    nopush: bool = True,
    certificate: Certificate | None = None,
) -> Iterator[Server]:
    """Serve `root`; `remember_files` spares it the opening of each file (open_file_cache).

    `nopush` is the option of that name: on, as distributions have it, unless it harms.
    """
    name = "nginx static, open_file_cache" if remember_files else "nginx static"
    location = f"location / {{ root {root}; tcp_nopush {'on' if nopush else 'off'}; }}"
    extra = _REMEMBER_FILES if remember_files else ""
    with _nginx(work, name, location, extra, workers=workers, certificate=certificate) as server:
        yield server


@contextlib.contextmanager
def nginx_cache(work: Path, upstream: str) -> Iterator[Server]:
    """Cache whatever `upstream` sends."""
    location = (
        f"location / {{ tcp_nopush on; proxy_pass {upstream}; proxy_cache bench; proxy_cache_valid 200 1h;"
        "proxy_cache_lock on; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    )
    zone = f"proxy_cache_path {work}/cache keys_zone=bench:10m max_size=20g use_temp_path=off;"
    with _nginx(work, "nginx proxy_cache", location, zone) as server:
        yield server


@contextlib.contextmanager
def _nginx(
    work: Path,
    name: str,
    location: str,
    extra: str,
    *,
    workers: int = 1,
    certificate: Certificate | None = None,
) -> Iterator[Server]:
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    scheme, listen = "http", f"listen 127.0.0.1:{port} backlog=4096"
    if certificate is not None:
        scheme = "https"
        listen += f" ssl; ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key}"
    temporary = "".join(
        f"{kind}_temp_path {work}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = work / "nginx.conf"
    config.write_text(
        f"daemon off; worker_processes {workers}; pid {work}/nginx.pid; error_log {work}/error.log;"
        f"{'user root;' if os.geteuid() == 0 else ''} events {{ worker_connections 4096; }}\n"
        f"http {{ access_log off; sendfile on; keepalive_requests 1000000; {temporary} {extra}"
        f"server {{ {listen}; {location} }} }}\n"
    )
    with running(["nginx", "-c", str(config), "-p", str(work), "-e", f"{work}/error.log"], port) as pid:
        yield Server(name, f"{scheme}://127.0.0.1:{port}/", pid)

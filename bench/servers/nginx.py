"""nginx: static files as sstream-mirror leaves them, or a cache that verifies nothing.

The configuration is Debian's, its access log included, but for the switches.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import stage  # noqa: F401 - makes `support` importable
from processes import Server, free_port, running
from remarks import Switch, note_switches
from support.certificates import Certificate

from servers.names import NO_LOG

REMEMBERING = "nginx static, open_file_cache"
NO_PUSH = Switch("tcp_nopush", "off", "on", "with it, the end of each range waits for an acknowledgement")
_ALWAYS = (
    Switch("worker_connections", "4096", "768", "1,000 clients at a time"),
    Switch("keepalive_requests", "1000000", "1000", "connections that stay open"),
)
_AS_ROOT = Switch("user", "root", "www-data", "the bench's folders are root's")
_WITHOUT_LOG = Switch("access_log", "off", "/var/log/nginx/access.log", "the row without an access log")
_REMEMBER_FILES = (
    Switch("open_file_cache", "max=10000 inactive=60s", "off", "what configuring it can give"),
    Switch("open_file_cache_valid", "60s", "60s", "what configuring it can give"),
)
_MIME_TYPES = Path("/etc/nginx/mime.types")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def has_nginx() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None


@contextlib.contextmanager
def nginx_static(
    work: Path,
    root: Path,
    *,
    workers: int | None = 1,
    switches: Sequence[Switch] = (),
    certificate: Certificate | None = None,
    access_log: bool = True,
) -> Iterator[Server]:
    """Serve `root` with so many workers, or with one per CPU as it is installed."""
    logging = switches if access_log else (*switches, _WITHOUT_LOG)
    location = f"location / {{ root {root}; }}"
    name = "nginx static" if access_log else f"nginx static{NO_LOG}"
    with _nginx(work, name, location, workers, logging, certificate) as server:
        yield server


@contextlib.contextmanager
def nginx_remembering(work: Path, root: Path, *, access_log: bool = True) -> Iterator[Server]:
    """Serve `root` without opening each file for each request (open_file_cache)."""
    switches = _REMEMBER_FILES if access_log else (*_REMEMBER_FILES, _WITHOUT_LOG)
    name = REMEMBERING if access_log else REMEMBERING + NO_LOG
    with _nginx(work, name, f"location / {{ root {root}; }}", 1, switches) as server:
        yield server


@contextlib.contextmanager
def nginx_cache(
    work: Path, upstream: str, *, workers: int | None = 1, access_log: bool = True
) -> Iterator[Server]:
    """Cache whatever `upstream` sends; an https one is not verified, as is nginx's default."""
    location = (
        f"location / {{ proxy_pass {upstream}; proxy_cache bench; proxy_cache_valid 200 1h;"
        "proxy_cache_lock on; proxy_http_version 1.1; proxy_set_header Connection ''; }"
    )
    zone = f"proxy_cache_path {work}/cache keys_zone=bench:10m max_size=20g use_temp_path=off;"
    name = "nginx proxy_cache" if access_log else f"nginx proxy_cache{NO_LOG}"
    switches = () if access_log else (_WITHOUT_LOG,)
    with _nginx(work, name, location, workers, switches, zone=zone) as server:
        yield server


@contextlib.contextmanager
def _nginx(
    work: Path,
    name: str,
    location: str,
    workers: int | None,
    switches: Sequence[Switch],
    certificate: Certificate | None = None,
    *,
    zone: str = "",
) -> Iterator[Server]:
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    switches = [*_ALWAYS, *switches]
    if workers is not None:
        switches.append(Switch("worker_processes", str(workers), "auto", "as many as ours has"))
    if os.geteuid() == 0:
        switches.append(_AS_ROOT)
    note_switches(name, switches)
    config = work / "nginx.conf"
    server = f"{zone} server {{ {_listen(port, certificate)} {location} }}"
    config.write_text(_configuration(work, switches, server))
    command = ["nginx", "-c", str(config), "-p", str(work), "-e", f"{work}/error.log"]
    scheme = "http" if certificate is None else "https"
    with running(command, port) as pid:
        yield Server(name, f"{scheme}://127.0.0.1:{port}/", pid)


def _configuration(work: Path, switches: Sequence[Switch], server: str) -> str:
    """Return Debian's configuration with the switches, its files below `work`."""
    main = {"worker_processes": "auto", "pid": f"{work}/nginx.pid", "daemon": "off"}
    events = {"worker_connections": "768"}
    http = {
        "sendfile": "on",
        "tcp_nopush": "on",
        "types_hash_max_size": "2048",
        "default_type": "application/octet-stream",
        "ssl_protocols": "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
        "ssl_prefer_server_ciphers": "on",
        "access_log": f"{work}/access.log",
        "gzip": "on",
        **{f"{kind}_temp_path": f"{work}/{kind}" for kind in _TEMPORARY},
    }
    if _MIME_TYPES.exists():
        http["include"] = str(_MIME_TYPES)
    for one in switches:
        block = main if one.setting in {"user", "worker_processes"} else http
        (events if one.setting in events else block)[one.setting] = one.value
    return (
        f"{_directives(main)} events {{ {_directives(events)} }}\nhttp {{ {_directives(http)} {server} }}\n"
    )


def _directives(settings: dict[str, str]) -> str:
    return " ".join(f"{name} {value};" for name, value in settings.items())


def _listen(port: int, certificate: Certificate | None) -> str:
    plain = f"listen 127.0.0.1:{port} backlog=4096"
    if certificate is None:
        return f"{plain};"
    return f"{plain} ssl; ssl_certificate {certificate.chain}; ssl_certificate_key {certificate.key};"

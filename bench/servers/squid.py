"""Squid as an accelerator, its cache in memory, logging through its daemon as Debian's does."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processes import Server, free_port, running
from remarks import Switch, note_switches

from servers.names import NO_LOG

_SHARED_MEMORY = Path("/dev/shm")
_IN_MEMORY = "everything that is asked for stays in memory"
_SWITCHES = (
    Switch("cache_mem", "1024 MB", "256 MB", _IN_MEMORY),
    Switch("maximum_object_size", "1024 MB", "4 MB", _IN_MEMORY),
    Switch("maximum_object_size_in_memory", "1024 MB", "512 KB", _IN_MEMORY),
    Switch("refresh_pattern", ". 1440 100% 10080", ". 0 20% 4320", "nothing is asked for again"),
    Switch("cache_store_log", "none", "none", "as installed"),
    Switch("pinger_enable", "off", "on", "no more processes than it needs"),
    Switch("netdb_filename", "none", "netdb.state", "no more files than it needs"),
    Switch("shutdown_lifetime", "0 seconds", "30 seconds", "the bench does not wait for its end"),
)
_WITHOUT_LOG = Switch(
    "access_log", "none", "daemon:/var/log/squid/access.log squid", "the row without an access log"
)


@contextlib.contextmanager
def squid_cache(work: Path, upstream: str, *, access_log: bool = True) -> Iterator[Server]:
    """Cache whatever `upstream`, a server's root, sends."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    name = "Squid" if access_log else f"Squid{NO_LOG}"
    note_switches(name, _SWITCHES if access_log else [*_SWITCHES, _WITHOUT_LOG])
    rights = ""
    if os.geteuid() == 0:
        shutil.chown(work, "nobody")
        rights = "cache_effective_user nobody\ncache_effective_group nogroup\n"
    log = f"daemon:{work}/access.log squid" if access_log else "none"
    settings = "".join(f"{one.setting} {one.value}\n" for one in _SWITCHES)
    config = work / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost\n"
        f"cache_peer 127.0.0.1 parent {urlsplit(upstream).port} 0 no-query no-digest originserver\n"
        f"http_access allow all\n{settings}access_log {log}\ncache_log {work}/cache.log\n"
        f"pid_filename {work}/pid\ncoredump_dir {work}\nvisible_hostname bench\n{rights}"
    )
    service = f"bench{port}"
    command = ["squid", "-N", "-n", service, "-f", str(config)]
    with _no_shared_memory_left(service), running(command, port) as pid:
        yield Server(name, f"http://127.0.0.1:{port}/", pid)


@contextlib.contextmanager
def _no_shared_memory_left(service: str) -> Iterator[None]:
    """Remove what a Squid of this name leaves when it is killed: the next of that name would not start."""
    try:
        yield
    finally:
        for segment in _SHARED_MEMORY.glob(f"{service}-*"):
            segment.unlink(missing_ok=True)

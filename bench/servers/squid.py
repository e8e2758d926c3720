"""Squid as an accelerator, its cache in memory."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processes import Server, free_port, running


@contextlib.contextmanager
def squid_cache(work: Path, upstream: str) -> Iterator[Server]:
    """Cache whatever `upstream`, a server's root, sends."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    rights = ""
    if os.geteuid() == 0:
        shutil.chown(work, "nobody")
        rights = "cache_effective_user nobody\ncache_effective_group nogroup\n"
    config = work / "squid.conf"
    config.write_text(
        f"http_port 127.0.0.1:{port} accel defaultsite=127.0.0.1 no-vhost\n"
        f"cache_peer 127.0.0.1 parent {urlsplit(upstream).port} 0 no-query no-digest originserver\n"
        "http_access allow all\ncache_mem 1024 MB\nmaximum_object_size 1024 MB\n"
        "maximum_object_size_in_memory 1024 MB\nrefresh_pattern . 1440 100% 10080\n"
        f"access_log none\ncache_log {work}/cache.log\ncache_store_log none\npid_filename {work}/pid\n"
        f"coredump_dir {work}\npinger_enable off\nnetdb_filename none\nvisible_hostname bench\n"
        f"shutdown_lifetime 0 seconds\n{rights}"
    )
    with running(["squid", "-N", "-f", str(config)], port) as pid:
        yield Server("Squid", f"http://127.0.0.1:{port}/", pid)

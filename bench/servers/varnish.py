"""Varnish, its cache in memory, with the log daemon that Debian starts beside it."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from processes import Server, free_port, running
from remarks import Switch, note_switches

from servers.names import NO_LOG

_SWITCHES = (
    Switch("-s", "malloc,2G", "malloc,256m", "everything that is asked for stays in memory"),
    Switch("-t", "3600", "120", "nothing is asked for again"),
    Switch("-j", "none", "unix,user=vcache", "the bench's folders are its own"),
)
_WITHOUT_LOG = Switch("varnishncsa.service", "not started", "enabled", "the row without an access log")
_END_S = 20.0


@contextlib.contextmanager
def varnish_cache(work: Path, upstream: str, *, access_log: bool = True) -> Iterator[Server]:
    """Cache whatever `upstream`, a server's root, sends."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    has_log = access_log and shutil.which("varnishncsa") is not None
    name = "Varnish" if has_log else f"Varnish{NO_LOG}"
    note_switches(name, _SWITCHES if has_log else [*_SWITCHES, _WITHOUT_LOG])
    command = ["varnishd", "-F", "-n", str(work), "-a", f"127.0.0.1:{port}"]
    command += ["-b", f"127.0.0.1:{urlsplit(upstream).port}"]
    for one in _SWITCHES:
        command += [one.setting, one.value]
    with running(command, port) as pid, _logging(work) if has_log else contextlib.nullcontext(()) as loggers:
        yield Server(name, f"http://127.0.0.1:{port}/", pid, loggers)


@contextlib.contextmanager
def _logging(work: Path) -> Iterator[tuple[int, ...]]:
    """Write the access log as varnishncsa.service does; yield its process."""
    command = ["varnishncsa", "-n", str(work), "-a", "-w", f"{work}/varnishncsa.log"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield (process.pid,)
        finally:
            process.terminate()
            process.wait(_END_S)

"""Apache's event MPM with one process, serving static files and logging as Debian's does."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from processes import Server, free_port, running
from remarks import Switch, note_switches

from servers.names import NO_LOG

_MODULES = Path("/usr/lib/apache2/modules")
_COMBINED = r'"%h %l %u %t \"%r\" %>s %O \"%{Referer}i\" \"%{User-Agent}i\"" combined'
_THREADS = "one process with enough threads, on one CPU"
_KEEPALIVE = "connections that stay open"
_SWITCHES = (
    Switch("ServerLimit", "1", "16", _THREADS),
    Switch("StartServers", "1", "2", _THREADS),
    Switch("ThreadLimit", "64", "64", _THREADS),
    Switch("ThreadsPerChild", "64", "25", _THREADS),
    Switch("MaxRequestWorkers", "64", "150", _THREADS),
    Switch("MaxKeepAliveRequests", "0", "100", _KEEPALIVE),
    Switch("KeepAliveTimeout", "60", "5", _KEEPALIVE),
    Switch("EnableSendfile", "On", "Off", "large files are what it is for"),
)
_FEWER_MODULES = Switch("LoadModule", "mpm_event, authz_core", "some 20 modules", "no more than files need")
_WITHOUT_LOG = Switch("CustomLog", "none", "access.log combined", "the row without an access log")


@contextlib.contextmanager
def apache_static(work: Path, root: Path, *, access_log: bool = True) -> Iterator[Server]:
    """Serve `root`; as root it gives its rights up, so the files must be readable by all."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    name = "Apache static" if access_log else f"Apache static{NO_LOG}"
    note_switches(name, [*_SWITCHES, _FEWER_MODULES, *(() if access_log else (_WITHOUT_LOG,))])
    config = work / "apache.conf"
    rights = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    log = f"LogFormat {_COMBINED}\nCustomLog {work}/access.log combined\n" if access_log else ""
    modules = "".join(
        f"LoadModule {module}_module {_MODULES}/mod_{module}.so\n" for module in ("mpm_event", "authz_core")
    )
    settings = "".join(f"{one.setting} {one.value}\n" for one in _SWITCHES)
    config.write_text(
        f"{modules}ServerRoot {work}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {work}/pid\n"
        f"ErrorLog {work}/error.log\nLogLevel warn\nDefaultRuntimeDir {work}\nKeepAlive On\n"
        f"{rights}{settings}{log}DocumentRoot {root}\n"
        f"<Directory {root}>\nAllowOverride None\nRequire all granted\n</Directory>\n"
    )
    with running(["apache2", "-f", str(config), "-DFOREGROUND"], port) as pid:
        yield Server(name, f"http://127.0.0.1:{port}/", pid)

"""Apache's event MPM with one process, serving static files."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from processes import Server, free_port, running

_MODULES = Path("/usr/lib/apache2/modules")
_THREADS = 64


@contextlib.contextmanager
def apache_static(work: Path, root: Path) -> Iterator[Server]:
    """Serve `root`; as root it gives its rights up, so the files must be readable by all."""
    port = free_port()
    work.mkdir(parents=True, exist_ok=True)
    config = work / "apache.conf"
    rights = "User nobody\nGroup nogroup\n" if os.geteuid() == 0 else ""
    modules = "".join(
        f"LoadModule {name}_module {_MODULES}/mod_{name}.so\n" for name in ("mpm_event", "authz_core")
    )
    config.write_text(
        f"{modules}ServerRoot {work}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {work}/pid\n"
        f"ErrorLog {work}/error.log\nLogLevel error\nDefaultRuntimeDir {work}\n"
        f"{rights}"
        f"ServerLimit 1\nStartServers 1\nThreadLimit {_THREADS}\nThreadsPerChild {_THREADS}\n"
        f"MaxRequestWorkers {_THREADS}\nKeepAlive On\nMaxKeepAliveRequests 0\nKeepAliveTimeout 60\n"
        f"EnableSendfile On\nDocumentRoot {root}\n"
        f"<Directory {root}>\nAllowOverride None\nRequire all granted\n</Directory>\n"
    )
    with running(["apache2", "-f", str(config), "-DFOREGROUND"], port) as pid:
        yield Server("Apache static", f"http://127.0.0.1:{port}/", pid)

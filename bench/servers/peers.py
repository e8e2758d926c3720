"""All servers that can answer hits on this machine, beside each other."""

import contextlib
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

from clients import download
from processes import SERVER_CPUS, Server
from stage import Stage

from servers.apache import apache_static
from servers.nginx import has_nginx, nginx_cache, nginx_static
from servers.ours import ours
from servers.slow_origin import Pace, slow_origin
from servers.squid import squid_cache
from servers.varnish import varnish_cache

REFERENCE = "nginx static"
OURS = "sstream-proxy"
_LEARNING_S = 1.5


@contextlib.contextmanager
def origin_of(ready: Stage) -> Iterator[Server]:
    """Serve the tree by nginx if there is one, otherwise by the slow origin at full speed."""
    with (
        nginx_static(ready.work / "origin", ready.root) if has_nginx() else slow_origin(ready.root, Pace())
    ) as origin:
        yield origin


@contextlib.contextmanager
def hit_servers(
    ready: Stage, paths: list[str], *, only: set[str] | None = None, nopush: bool = True
) -> Iterator[dict[str, Server]]:
    """Run the reference, ours and every installed peer (or `only` those), each holding `paths` already.

    Each is kept on one and the same CPU; they take turns. `nopush` is nginx's tcp_nopush.
    """
    with ExitStack() as stack:
        origin = stack.enter_context(origin_of(ready))
        starts = {
            REFERENCE: ("nginx", partial(nginx_static, ready.work / "nginx", ready.root, nopush=nopush)),
            OURS: ("true", partial(_ours, ready, origin)),
            "nginx static, open_file_cache": (
                "nginx",
                partial(nginx_static, ready.work / "nginx-files", ready.root, remember_files=True),
            ),
            "nginx proxy_cache": ("nginx", partial(nginx_cache, ready.work / "nginx-cache", origin.base)),
            "Apache static": ("apache2", partial(apache_static, ready.work / "apache", ready.root)),
            "Squid": ("squid", partial(squid_cache, ready.work / "squid", origin.base)),
            "Varnish": ("varnishd", partial(varnish_cache, ready.work / "varnish", origin.base)),
        }
        servers: dict[str, Server] = {}
        for name, (program, start) in starts.items():
            if shutil.which(program) is not None and (only is None or name in only):
                servers[name] = stack.enter_context(start())
        digests = {item.path: item.digest for item in ready.items}
        for server in servers.values():
            for path in paths:
                check_digest(server, path, digests.get(path))
            server.pin(SERVER_CPUS)
        time.sleep(_LEARNING_S)
        yield servers


def check_digest(server: Server, path: str, digest: str | None) -> None:
    """Fetch a path twice: what is measured afterwards is right, and held."""
    for _ in range(2):
        got = download(server.base + path, check=True)
        if got.status != 200 or digest not in {None, got.digest}:
            raise SystemExit(f"{server.name} sent wrong bytes for {path} ({got.status})")


@contextlib.contextmanager
def _ours(ready: Stage, origin: Server) -> Iterator[Server]:
    # All clients of a bench have one address.
    options = "[clients]\nconnections_per_client = 10000"
    with ours(ready.folder("ours"), origin.base, ready.keyring, options=options) as server:
        yield server

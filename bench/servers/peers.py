"""All servers that can answer hits on this machine, beside each other."""

import contextlib
import shutil
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from clients import download
from processes import SERVER_CPUS, Server
from remarks import Switch, note_left_out
from stage import Stage
from support.certificates import Certificate

from servers.apache import apache_static
from servers.names import NO_LOG, OURS, REFERENCE
from servers.nginx import REMEMBERING, has_nginx, nginx_cache, nginx_remembering, nginx_static
from servers.ours import ONE_WORKER, ours
from servers.slow_origin import Pace, slow_origin
from servers.squid import squid_cache
from servers.varnish import varnish_cache

_LEARNING_S = 1.5


class _Start(Protocol):
    """What starts a server in a folder, with or without its access log."""

    def __call__(self, work: Path, *, access_log: bool) -> AbstractContextManager[Server]: ...


class Pair(NamedTuple):
    """Ours and the reference, by name, that bars compare."""

    how: str
    """How both are set up, in words."""
    ours: str
    reference: str


EVERYBODY = (REFERENCE, OURS, REMEMBERING, "nginx proxy_cache", "Apache static", "Squid", "Varnish")
PAIRS = (
    Pair("as installed", OURS, REFERENCE),
    Pair("without logs", OURS + NO_LOG, REFERENCE + NO_LOG),
)


@contextlib.contextmanager
def origin_of(ready: Stage, certificate: Certificate | None = None) -> Iterator[Server]:
    """Serve the tree by nginx if there is one, otherwise by the slow origin at full speed.

    Over https, with a certificate, only nginx does.
    """
    work = ready.work / "origin"
    with (
        nginx_static(work, ready.root, certificate=certificate, access_log=False)
        if has_nginx()
        else slow_origin(ready.root, Pace())
    ) as origin:
        yield origin


@contextlib.contextmanager
def hit_servers(
    ready: Stage,
    paths: list[str],
    *,
    only: set[str] | None = None,
    without_log: Collection[str] = (REFERENCE, OURS),
    nginx_switches: Sequence[Switch] = (),
    our_switches: Sequence[Switch] = (),
) -> Iterator[dict[str, Server]]:
    """Run the reference, ours and every installed peer (or `only` those), each holding `paths` already.

    Each runs with its access log as it is installed, and those named `without_log` once more without
    one. Each is kept on one and the same CPU; they take turns.
    """
    with ExitStack() as stack:
        origin = stack.enter_context(origin_of(ready))
        starts = _starts(ready, origin, nginx_switches, our_switches)
        servers: dict[str, Server] = {}
        for access_log in (True, False):
            for name, (program, start) in starts.items():
                if (only is not None and name not in only) or not (access_log or name in without_log):
                    continue
                if shutil.which(program) is None:
                    note_left_out(name, f"{program} is not installed")
                    continue
                with _forgiving(name), ExitStack() as attempt:
                    folder = name.replace(" ", "-") if access_log else f"{name.replace(' ', '-')}-no-log"
                    server = attempt.enter_context(start(ready.folder(folder), access_log=access_log))
                    _hold(server, ready, paths)
                    servers[server.name] = server
                    stack.push(attempt.pop_all())
        time.sleep(_LEARNING_S)
        yield servers


def pairs_of(servers: Iterable[str]) -> list[Pair]:
    """Return the pairs that were both measured."""
    names = set(servers)
    return [pair for pair in PAIRS if names >= {pair.ours, pair.reference}]


def check_digest(server: Server, path: str, digest: str | None) -> None:
    """Fetch a path twice: what is measured afterwards is right, and held."""
    for _ in range(2):
        got = download(server.base + path, check=True)
        if got.status != 200 or digest not in {None, got.digest}:
            raise SystemExit(f"{server.name} sent wrong bytes for {path} ({got.status})")


def _starts(
    ready: Stage, origin: Server, nginx_switches: Sequence[Switch], our_switches: Sequence[Switch]
) -> dict[str, tuple[str, _Start]]:
    """Return what each server needs to be installed, and what starts it."""
    switches = (ONE_WORKER, *our_switches)
    upstream = origin.base
    return {
        REFERENCE: ("nginx", partial(nginx_static, root=ready.root, switches=nginx_switches)),
        OURS: ("true", partial(ours, origins=[upstream], keyring=ready.keyring, options=switches)),
        REMEMBERING: ("nginx", partial(nginx_remembering, root=ready.root)),
        "nginx proxy_cache": ("nginx", partial(nginx_cache, upstream=upstream)),
        "Apache static": ("apache2", partial(apache_static, root=ready.root)),
        "Squid": ("squid", partial(squid_cache, upstream=upstream)),
        "Varnish": ("varnishd", partial(varnish_cache, upstream=upstream)),
    }


def _hold(server: Server, ready: Stage, paths: list[str]) -> None:
    """Let a server fetch what it will be asked for, and keep it on its CPU from then on."""
    digests = {item.path: item.digest for item in ready.items}
    for path in paths:
        check_digest(server, path, digests.get(path))
    server.pin(SERVER_CPUS)


@contextlib.contextmanager
def _forgiving(name: str) -> Iterator[None]:
    """Leave a peer out that does not work here, and say so; without ours there is nothing to measure."""
    try:
        yield
    except (SystemExit, RuntimeError, OSError) as error:
        if name == OURS:
            raise
        note_left_out(name, str(error))

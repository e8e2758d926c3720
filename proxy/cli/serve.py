"""`serve`: running the proxy."""

import contextlib
import logging
import os
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from proxy import __version__
from proxy.cli.going_on import program
from proxy.cli.options import GivenPath, config_option, data_dir_option, load, read_config
from proxy.cli.owner import become_owner, warn_of_strangers
from proxy.config.advice.exposure import exposures
from proxy.config.advice.machine import disk_faults, hasty_clients
from proxy.config.advice.surroundings import oddities
from proxy.config.config import Config
from proxy.config.load import find_config_file
from proxy.errors import ProxyError
from proxy.mirror import Trust
from proxy.processes.listeners import Listeners, handed_over, shown_address
from proxy.store.owners import Owner

log = logging.getLogger(__name__)

_MAAS_KEYRINGS = {"ubuntu-cloudimage": "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"}
"""Where the bundled keyrings are on a MAAS region controller."""
_GIB = 1024**3


@click.command(short_help="Run the proxy.")
@config_option
@click.option(
    "--listen", multiple=True, metavar="HOST:PORT", help="Where to listen; may be repeated. [0.0.0.0:8080]"
)
@data_dir_option
@click.option("--workers", metavar="N|auto", help="Number of worker processes. [auto: one a CPU, at most 4]")
@click.option("--offline", is_flag=True, default=None, help="Serve what is in the cache; never ask upstream.")
@click.option(
    "--lock",
    type=GivenPath(path_type=Path),
    metavar="FILE",
    help="Serve exactly what this lockfile names, as `record` writes it, and nothing else.",
)
def serve(
    config_file: Path | None,
    listen: tuple[str, ...],
    data_dir: Path | None,
    workers: str | None,
    offline: bool | None,
    lock: Path | None,
) -> None:
    """Run the proxy until SIGTERM or Ctrl-C; SIGHUP reads the configuration again.

    \b
      sstream-proxy serve
      sstream-proxy serve --listen 0.0.0.0:80 --data-dir /srv/images --offline
      sstream-proxy serve --lock lab.lock

    Indexes and products lists are verified against the mirror's keyring before
    anybody sees them; every image is checked against the SHA-256 that they name.
    What was fetched once is served from the data directory from then on.
    """  # noqa: D301 - click wants the backspace that \b is
    given = {"listen": listen, "data_dir": data_dir, "workers": workers, "offline": offline, "lock": lock}
    config = load(config_file, **given)

    def read_again() -> Config:
        again = read_config(config_file, **given)
        _tell_exposures(again, config_file)
        return again

    # Late: the other commands start faster without the server's imports.
    from proxy.logs.set_up import log_of_service, renew  # noqa: PLC0415

    lines = log_of_service(config.log.level, config.log.format)
    try:
        status = _supervise(
            config, config_file, read_again, lambda again: renew(lines, again.log.level, again.log.format)
        )
    finally:
        lines.flush()  # What is said of the end comes after it.
    raise SystemExit(status)


def _supervise(
    config: Config,
    config_file: Path | None,
    read_again: Callable[[], Config],
    on_accepted: Callable[[Config], None],
) -> int:
    """Run the service; return its exit status."""
    from proxy.processes.supervisor import Supervisor  # noqa: PLC0415
    from proxy.processes.systemd import Notifier  # noqa: PLC0415
    from proxy.runtime import load_servers  # noqa: PLC0415
    from proxy.store.files import StoreFault  # noqa: PLC0415
    from proxy.store.recovery import set_damaged_ledger_aside  # noqa: PLC0415

    load_servers()
    become_owner(config)
    warn_of_strangers(config.data_dir, Owner.running())
    _tell_exposures(config, config_file)
    odd = list(oddities(os.environ, config.upstream.parent_proxy))
    for problem in odd:
        log.warning("machine.odd problem=%s", problem)
    try:
        set_damaged_ledger_aside(config.data_dir / "ledger")
        notifier = Notifier(os.environ)
        sockets = handed_over(os.environ, os.getpid())
        supervisor = Supervisor(config, read_again, on_accepted, notifier, sockets)
    except ProxyError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(StoreFault.of(config.data_dir, error))) from error
    with contextlib.suppress(OSError):  # Clients are served, whether or not somebody reads this.
        click.echo(_banner(supervisor.config, supervisor.listeners, odd))
    return supervisor.run()


def _tell_exposures(config: Config, config_file: Path | None) -> None:
    for problem in exposures(config, find_config_file(config_file, os.environ)):
        log.warning("config.exposed problem=%s", problem)
    for problem in (*disk_faults(config), *hasty_clients(config)):
        log.warning("config.doubtful problem=%s", problem)


def _banner(config: Config, listeners: Listeners, odd: Sequence[str]) -> str:
    """Return what a person wants to know at the start."""

    def scheme(one: socket.socket) -> str:
        return "http" if config.tls.certificate is None or one in listeners.plain else "https"

    reachable = _reachable(scheme(listeners.clients[0]), listeners.clients[0])
    secure = next((one for one in listeners.clients if scheme(one) == "https"), None)
    free_gib = shutil.disk_usage(config.data_dir).free / _GIB
    limit_bytes = config.cache.limit_bytes
    limit = "no size limit" if limit_bytes is None else f"limit {limit_bytes / _GIB:.1f} GiB"
    lines = [
        f"sstream-proxy {__version__}{' (offline)' if config.offline else ''}",
        f"  listening on  {_shown(scheme, listeners.clients)}",
        *([f"  admins at     {_shown(scheme, listeners.admins)}"] if listeners.admins else []),
        f"  storing in    {config.data_dir} ({limit}, {free_gib:.1f} GiB free)",
        *([f"  locked by     {config.lock}: nothing else is served"] if config.lock else []),
        *(f"  mirror        {mirror.name}: {mirror.mount}" for mirror in config.mirrors),
        *(f"  warning       {problem}" for problem in odd),
        "",
        *_maas_lines(config, reachable),
        "Point LXD or Incus at it, for a mirror with images for them:",
    ]
    if secure is not None:
        url = _reachable("https", secure)
        lines += [
            f"  {program()} connect lxd cache --mirror NAME",
            f"or by hand: lxc remote add cache {url}/MOUNT/ --protocol simplestreams",
        ]
    else:
        lines.append("  they speak only https: set [tls] certificate and key first")
    return "\n".join(lines) + "\n"


def _maas_lines(config: Config, base: str) -> list[str]:
    """Return the commands that make MAAS use the first mirror whose keyring it can be given."""
    mirror = next((one for one in config.mirrors if one.trust is Trust.GPG), None)
    if mirror is None:
        return ['MAAS needs a signed mirror (trust = "gpg"); none is configured.']
    if mirror.users or config.access.users:
        base = base.replace("://", "://USER:PASSWORD@")
    keyring = _MAAS_KEYRINGS.get(mirror.keyring, mirror.keyring)
    return [
        "Make MAAS use it, on this machine; it shows what it will change, and asks:",
        f"  {program()} connect maas http://MAAS:5240/MAAS --key-file KEY",
        "or by hand (the keyring is a file on the region controller):",
        f"  maas admin boot-sources create url={base}{mirror.mount} \\",
        f"    keyring_filename={keyring}",
        "  maas admin boot-resources import",
    ]


def _shown(scheme: Callable[[socket.socket], str], sockets: Sequence[socket.socket]) -> str:
    """Return base URLs, or the paths of local sockets."""
    shown = [(scheme(one), shown_address(one)) for one in sockets]
    return ", ".join(where if where.startswith("unix:") else f"{how}://{where}" for how, where in shown)


def _reachable(scheme: str, one: socket.socket) -> str:
    """Return a base URL as other machines would write it."""
    if one.family == socket.AF_UNIX:
        return f"{scheme}://THIS-HOST"
    host, _, port = shown_address(one).rpartition(":")
    return f"{scheme}://{socket.gethostname() if host in {'0.0.0.0', '[::]'} else host}:{port}"  # noqa: S104

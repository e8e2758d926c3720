"""`serve` and `check-config`: running the proxy, and checking what it would run with."""

import os
import shutil
import socket
from pathlib import Path

import click

from proxy import __version__
from proxy.cache.mirror import Trust
from proxy.cli.options import config_option, load
from proxy.config import Config, find_config_file
from proxy.errors import ProxyError

_MAAS_KEYRINGS = {"ubuntu-cloudimage": "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"}
"""Where the bundled keyrings are on a MAAS region controller."""
_GIB = 1024**3


@click.command()
@config_option
@click.option(
    "--listen", multiple=True, metavar="HOST:PORT", help="Where to listen; may be repeated. [0.0.0.0:8080]"
)
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where blobs and the ledger are kept.")
@click.option("--workers", metavar="N|auto", help="Number of worker processes. [auto: one a CPU, at most 4]")
@click.option("--offline", is_flag=True, default=None, help="Serve what is in the cache; never ask upstream.")
def serve(
    config_file: Path | None,
    listen: tuple[str, ...],
    data_dir: Path | None,
    workers: str | None,
    offline: bool | None,
) -> None:
    """Run the proxy until SIGTERM or Ctrl-C.

    Indexes and products lists are verified against the mirror's keyring before
    anybody sees them; every image is checked against the SHA-256 that they name.
    What was fetched once is served from the data directory from then on.
    """
    config = load(config_file, listen=listen, data_dir=data_dir, workers=workers, offline=offline)
    # Late: the other commands start faster without the server's imports.
    from proxy.logs import set_up_logging  # noqa: PLC0415
    from proxy.runtime import open_keyrings  # noqa: PLC0415
    from proxy.workers import Supervisor, bind, tls_context  # noqa: PLC0415

    set_up_logging(config.log.level, config.log.format)
    try:
        config.data_dir.mkdir(parents=True, exist_ok=True)
        open_keyrings(config)
        tls_context(config)
        sockets = bind(config.addresses)
    except ProxyError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or config.data_dir}: {error.strerror}") from error
    supervisor = Supervisor(config, sockets)
    click.echo(_banner(config, [one.getsockname()[:2] for one in sockets]))
    raise SystemExit(supervisor.run())


@click.command("check-config")
@config_option
def check_config(config_file: Path | None) -> None:
    """Check the configuration and say everything that is wrong with it, by key."""
    config = load(config_file)
    path = find_config_file(config_file, os.environ)
    click.echo(f"{path or 'built-in defaults'}: good, {len(config.mirrors)} mirrors")
    for mirror in config.mirrors:
        click.echo(f"  {mirror.name:20} {mirror.mount}  from {', '.join(mirror.origins)}")


def _banner(config: Config, addresses: list[tuple[str, int]]) -> str:
    """Return what a person wants to know at the start."""
    scheme = "http" if config.tls.certificate is None else "https"
    bases = [f"{scheme}://{_bracketed(host)}:{port}" for host, port in addresses]
    free_gib = shutil.disk_usage(config.data_dir).free / _GIB
    limit_bytes = config.cache.limit_bytes
    limit = "no size limit" if limit_bytes is None else f"limit {limit_bytes / _GIB:.1f} GiB"
    lines = [
        f"sstream-proxy {__version__}{' (offline)' if config.offline else ''}",
        f"  listening on  {', '.join(bases)}",
        f"  storing in    {config.data_dir} ({limit}, {free_gib:.1f} GiB free)",
        *(f"  mirror        {mirror.name}: {mirror.mount}" for mirror in config.mirrors),
        "",
        *_maas_lines(config, _reachable(scheme, *addresses[0])),
        "Point LXD or Incus at it, for a mirror with images for them:",
    ]
    if scheme == "https":
        lines.append(
            f"  lxc remote add NAME {_reachable(scheme, *addresses[0])}/MOUNT/ --protocol simplestreams"
        )
    else:
        lines.append("  they speak only https: set [tls] certificate and key first")
    return "\n".join(lines) + "\n"


def _maas_lines(config: Config, base: str) -> list[str]:
    """Return the commands that make MAAS use the first mirror whose keyring it can be given."""
    mirror = next((one for one in config.mirrors if one.trust is Trust.GPG), None)
    if mirror is None:
        return ['MAAS needs a signed mirror (trust = "gpg"); none is configured.']
    keyring = _MAAS_KEYRINGS.get(mirror.keyring, mirror.keyring)
    return [
        "Point MAAS at it (the keyring is a file on the region controller):",
        f"  maas admin boot-sources create url={base}{mirror.mount} \\",
        f"    keyring_filename={keyring}",
        "  maas admin boot-resources import",
    ]


def _reachable(scheme: str, host: str, port: int) -> str:
    """Return a base URL as other machines would write it."""
    name = socket.gethostname() if host in {"0.0.0.0", "::"} else _bracketed(host)  # noqa: S104
    return f"{scheme}://{name}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

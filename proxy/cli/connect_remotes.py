"""`connect lxd` and `connect incus`: a remote of their clients that is this proxy."""

import os
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import (
    GivenPath,
    GivenUrl,
    UsageFault,
    chosen_mirrors,
    config_option,
    load,
    stored_data_dir_option,
)
from proxy.cli.running import COMPLETE, FAILED
from proxy.config.config import Config
from proxy.connect.addresses import is_same_source
from proxy.connect.remotes import INCUS, LXC, Program, RemoteFault, Remotes
from proxy.connect.route import host_name
from proxy.errors import ProxyError
from proxy.mirror import Mirror, Trust
from proxy.readable import counted, printable

_NAME = "cache"
_ANY_HOST = {"0.0.0.0", "::"}  # noqa: S104 - compared with, not bound
_HTTPS = 443
_NEEDS_TLS = (
    "{product} speaks only https, and this proxy has no certificate: set [tls] certificate and key in its "
    "configuration, restart it, and try again"
)
_HELP = """Add a remote to {product}'s client of whoever runs this, and try it.

    \b
      sstream-proxy connect {name} cache --mirror lxc
      {program} launch cache:debian/12 box

    {product} speaks only https: the proxy needs a certificate ([tls]), whose name the
    client uses. One that the system does not trust is put where the client looks for it.

    --undo removes the remote, if it is this proxy.
    """


def _command(program: Program, name: str) -> click.Command:
    @click.command(
        name,
        short_help=f"Add a remote to {program.product}'s client, and try it.",
        help=_HELP.format(product=program.product, name=name, program=program.name),
    )
    @click.argument("remote", default=_NAME, metavar="[NAME]")
    @config_option
    @stored_data_dir_option
    @click.option(
        "--mirror", metavar="NAME", help="Default: the one mirror that nobody signs, as their images are."
    )
    @click.option(
        "--proxy-url", type=GivenUrl(), help="The mirror's URL as the client sees it, or the proxy's."
    )
    @click.option("--ca", type=GivenPath(path_type=Path), help="The certificate or authority (PEM) to trust.")
    @click.option("--undo", is_flag=True, help="Remove the remote.")
    def command(remote: str, config_file: Path | None, data_dir: Path | None, **options: Any) -> None:
        config = load(config_file, data_dir=data_dir)
        try:
            work = _ConnectRemote(config, Remotes(program, os.environ), program, remote, **options)
            raise SystemExit(work.run())
        except ProxyError as error:
            raise click.ClickException(printable(str(error))) from error

    return command


class _ConnectRemote:
    """One run of the command."""

    def __init__(
        self,
        config: Config,
        remotes: Remotes,
        program: Program,
        name: str,
        *,
        mirror: str | None,
        proxy_url: str | None,
        ca: Path | None,
        undo: bool,
    ) -> None:
        self._config = config
        self._remotes = remotes
        self._program = program
        self._name = name
        self._mirror_name = mirror
        self._proxy_url = proxy_url
        self._ca = ca
        self._is_undoing = undo

    def run(self) -> int:
        """Add the remote and try it, or remove it; return the exit code."""
        return self._undo() if self._is_undoing else self._add()

    def _add(self) -> int:
        mirror = self._mirror()
        url = self._url(mirror)
        added = self._remotes.add(self._name, url, self._ca or self._config.tls.certificate)
        click.echo(added.told)
        if os.geteuid() == 0:
            click.echo("note: it is root's remote; others run this as themselves", err=True)
        if not added.images:
            click.echo(
                f"it has no images for {self._program.product}: is {mirror.name!r} the mirror meant?",
                err=True,
            )
            return FAILED
        shown = f"`{self._program.name} image list {self._name}:`"
        click.echo(f"tried: {counted(added.images, 'image')}; {shown} lists them")
        return COMPLETE

    def _undo(self) -> int:
        known = self._remotes.address(self._name)
        if known is None:
            click.echo(f"nothing to undo: there is no remote {self._name!r}")
            return COMPLETE
        if not self._is_ours(known):
            raise RemoteFault(
                f"the remote {self._name!r} is {known}, which is no mirror of this proxy: it stays"
            )
        self._remotes.remove(self._name)
        click.echo(f"the remote {self._name!r} was removed")
        return COMPLETE

    def _is_ours(self, url: str) -> bool:
        mounts = [one.mount for one in self._config.mirrors]
        if self._proxy_url is not None:
            base = self._proxy_url.rstrip("/")
            return any(is_same_source(url, one) for one in (base, *(f"{base}{mount}" for mount in mounts)))
        return any(url.rstrip("/").endswith(mount.rstrip("/")) for mount in mounts)

    def _mirror(self) -> Mirror:
        mirrors = self._config.mirrors
        if self._mirror_name is not None:
            (name,) = chosen_mirrors(self._config, (self._mirror_name,))
            return next(one for one in mirrors if one.name == name)
        found = mirrors if len(mirrors) == 1 else [one for one in mirrors if one.trust is Trust.TLS]
        if len(found) != 1:
            names = ", ".join(one.name for one in mirrors)
            raise UsageFault(f"say by --mirror which one has images for {self._program.product}: {names}")
        return found[0]

    def _url(self, mirror: Mirror) -> str:
        base = self._proxy_url
        if base is None:
            if self._config.tls.certificate is None:
                raise UsageFault(_NEEDS_TLS.format(product=self._program.product))
            host, port = self._config.addresses[0]
            if port == 0:
                raise UsageFault("the proxy's port is not known: say its URL by --proxy-url")
            host = host_name() if host in _ANY_HOST else host
            host = f"[{host}]" if ":" in host else host
            base = f"https://{host}" if port == _HTTPS else f"https://{host}:{port}"
        if not base.startswith("https://"):
            raise UsageFault(_NEEDS_TLS.format(product=self._program.product))
        base = base.rstrip("/")
        return base if base.endswith(mirror.mount.rstrip("/")) else base + mirror.mount.rstrip("/")


lxd = _command(LXC, "lxd")
incus = _command(INCUS, "incus")

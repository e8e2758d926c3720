"""`connect`: make a MAAS, LXD or Incus use this proxy, with one command that can be taken back."""

from pathlib import Path
from typing import Any

import click

from proxy.cli.connect_maas import URL_VARIABLE, ConnectMaas, Wanted
from proxy.cli.connect_remotes import incus, lxd
from proxy.cli.maas_access import MaasAccess, maas_at, maas_options
from proxy.cli.options import (
    GivenUrl,
    UsageFault,
    config_option,
    load,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.errors import ProxyError


@click.group(short_help="Make MAAS, LXD or Incus use this proxy.")
def connect() -> None:
    """Make a client use this proxy: show what changes, ask, change it, try it.

    \b
      sstream-proxy connect maas http://MAAS:5240/MAAS --key-file KEY
      sstream-proxy connect lxd cache --mirror lxc

    Each takes back what it did by --undo.
    """  # noqa: D301 - click wants the backspace that \b is


@connect.command(short_help="Make a MAAS import its images from this proxy.")
@click.argument("url")
@config_option
@stored_data_dir_option
@maas_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--no-import", is_flag=True, help="Change the settings only; start no import.")
@click.option("--undo", is_flag=True, help="Put back what was there before.")
@click.option("--check", is_flag=True, help="Change nothing; tell whether this MAAS really uses the proxy.")
@click.option("--warm", is_flag=True, help="First fetch into the cache what this MAAS has selected.")
@click.option("--mirror", metavar="NAME", help="Default: the first signed one.")
@click.option(
    "--proxy-url",
    type=GivenUrl(),
    envvar=URL_VARIABLE,
    help=f"The mirror's URL as MAAS sees it, or the proxy's.  [${URL_VARIABLE}]",
)
@click.option("--keyring", metavar="PATH", help="The keyring's file on the region controllers.")
@click.option(
    "--source", "source_id", type=click.IntRange(1), help="The boot source to change, by its number."
)
def maas(
    url: str,
    config_file: Path | None,
    data_dir: Path | None,
    access: MaasAccess,
    **options: Any,
) -> None:
    """Make the MAAS at URL (as in your browser) import its images from this proxy.

    \b
      (umask 077; sudo maas apikey --username admin > key)
      sstream-proxy connect maas http://MAAS:5240/MAAS --key-file key
      sstream-proxy connect maas http://MAAS:5240/MAAS --key-file key --check
      sstream-proxy connect maas http://MAAS:5240/MAAS --key-file key --undo

    It shows what it will change, and asks. MAAS up to 3.7 has one boot source, whose
    URL changes; MAAS 3.8 and newer gets a second one with a higher priority, and the
    same images selected of it. Then the import is started, and watched to its end.

    The key comes from --key-file, from $SSTREAM_PROXY_MAAS_KEY, or is asked for. With
    --user NAME it is that user's password, for version 3 of the API (MAAS 3.8 and newer).

    What was there before is written down in the data directory before anything is
    changed; --undo puts it back, unless somebody has changed it since.

    Exit codes: 0 done, or --check finds that MAAS uses the proxy; 1 failed, or it does
    not; 2 wrong usage; 3 the import ended and some images are not complete.
    """  # noqa: D301 - click wants the backspace that \b is
    wanted = Wanted(**options)
    if wanted.undo and wanted.check:
        raise UsageFault("--undo and --check are two different things: give one of them")
    config = load(config_file, data_dir=data_dir)
    if not (wanted.undo or wanted.check):
        tell_if_new(data_dir)
    try:
        command = ConnectMaas(config, maas_at(url), access.read(), wanted)
        raise SystemExit(command.run())
    except ProxyError as error:
        raise click.ClickException(str(error)) from error


connect.add_command(lxd)
connect.add_command(incus)

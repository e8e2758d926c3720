"""`inventory`: say what is here, so that another site need not carry it here again."""

import sys
from pathlib import Path

import click

from proxy.bundles.inventory import summary, write_inventory, write_short
from proxy.cli.options import UsageFault, config_option, load, stored_data_dir_option
from proxy.cli.running import run_with_stored
from proxy.cli.selecting import origins_of
from proxy.jobs.importing.holdings import held_contents


@click.command(short_help="Say what is here, for an export elsewhere.")
@config_option
@stored_data_dir_option
@click.argument("mirrors", nargs=-1, metavar="[MIRROR]...")
@click.option("--short", is_flag=True, help="Write it so short that it can be typed, or shown as a QR code.")
@click.option("--digest", is_flag=True, help="Write a line for each mirror, to compare two sites by.")
def inventory(
    config_file: Path | None, data_dir: Path | None, mirrors: tuple[str, ...], short: bool, digest: bool
) -> None:
    """Write which files are here: lists, and the items that they name.

    Where the next bundle is made, `export --since FILE` leaves them out. Without a MIRROR all
    are meant of which something is here. What was imported and waits for more counts too.

    \b
      sstream-proxy inventory > inventory.txt
      sstream-proxy inventory --short | qrencode -t UTF8
      sstream-proxy inventory --digest
    """  # noqa: D301 - click wants the backspace that \b is
    if short and digest:
        raise UsageFault("--short and --digest are two different things: give one of them")
    config = load(config_file, data_dir=data_dir, offline=True)
    origins = origins_of(config, mirrors or tuple(mirror.name for mirror in config.mirrors))
    held = run_with_stored(config, lambda cache: held_contents(cache, origins, skips_empty=not mirrors))
    if digest:
        sys.stdout.write("".join(f"{summary(one)}\n" for one in held))
    else:
        written = write_short(held) if short else write_inventory(held)
        sys.stdout.write(written.decode())

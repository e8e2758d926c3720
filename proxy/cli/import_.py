"""`import`: take what was carried here by hand into the cache."""

from pathlib import Path

import click

from proxy.cli.import_bundles import import_bundles
from proxy.cli.options import (
    GivenPath,
    UsageFault,
    chosen_mirrors,
    config_option,
    load,
    option_once,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.cli.running import check_stored
from proxy.cli.who import operator
from proxy.jobs.importing.importing import Order


@click.command("import", short_help="Take in what was carried here by hand.")
@config_option
@stored_data_dir_option
@click.argument("paths", nargs=-1, type=GivenPath(path_type=str, allow_dash=True), metavar="PATH...")
@option_once(
    "--tree",
    metavar="DIR|URL",
    help="Take what sstream-mirror, rsync or wget left there; [MIRROR] [FILTER]... follow.",
)
@click.option("--waiting", is_flag=True, help="Try again to serve what was imported before and waits.")
@click.option(
    "--mirror",
    metavar="NAME",
    help="The mirror that is meant, whatever the bundle calls it, and no other.",
)
@click.option("--activate", is_flag=True, help="Serve what is imported although items of it are missing.")
@click.option("--accept-older", is_flag=True, help="This once, let what is older replace what is served.")
@click.option(
    "--keyring",
    type=GivenPath(path_type=Path, exists=True, dir_okay=False),
    help="The operators whose signatures count here. [bundles] keyring",
)
@click.option("--ignore-signature", is_flag=True, help="Where upstream's signatures decide, need no other.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Tell what would be taken, whether it fits, and what would be served; write nothing.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: progress, and a summary.")
def import_(
    config_file: Path | None,
    data_dir: Path | None,
    paths: tuple[str, ...],
    tree: str | None,
    waiting: bool,
    mirror: str | None,
    *,
    activate: bool,
    accept_older: bool,
    keyring: Path | None,
    ignore_signature: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Take bundles that `export` wrote into the cache: folders, tar archives, and parts of them.

    \b
      sstream-proxy import /media/usb
      ssh elsewhere sstream-proxy export --to - | sstream-proxy import -
      sstream-proxy import images-1of3.tar images-2of3.tar
      sstream-proxy import --mirror maas-stable /media/dvd
      sstream-proxy import --waiting --activate
      sstream-proxy import --tree /var/www/html/maas 'release=noble'

    A folder may be a bundle, or have bundles in it; - is an archive that comes through a pipe.
    Lists are verified by the mirror's keyring as if they were fetched, images by the signed
    lists. Parts and bundles may come in any order, and again: a generation is served as a whole
    once all that it names is here, and kept until then. It works beside a running server,
    which serves it at once, and offline. Nothing is unpacked, and the medium is never changed.

    --waiting takes no PATH: it serves what is complete by now, because a prefetch or a client brought
    what it lacked, and names what the others lack; with --activate it serves them all the same.

    --tree takes a tree that sstream-mirror, rsync or wget left: signed lists first, then every
    file that they want, wherever it lies, cloned or linked where that is safe, else copied. What is
    left over is told by kind. A file that is linked is read-only from then on.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 something is missing, 4 something was
    refused; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    if tree is not None:
        if dry_run:
            raise UsageFault("--dry-run is for bundles")
        if keyring is not None or ignore_signature:
            raise UsageFault("--keyring and --ignore-signature are for bundles: a tree has no such signature")
        from proxy.cli.import_tree import import_tree  # noqa: PLC0415 - late: bundles need nothing of trees

        tell_if_new(data_dir)
        raise SystemExit(
            import_tree(
                config,
                tree,
                paths,
                mirror,
                operator(),
                activate=activate,
                accept_older=accept_older,
                as_json=as_json,
            )
        )
    if waiting and (paths or dry_run or accept_older or keyring is not None or ignore_signature):
        raise UsageFault("--waiting goes with --mirror, --activate and --json only")
    if not paths and not waiting:
        raise UsageFault("say what is to be taken: bundles that export wrote, or --tree DIR, or --waiting")
    if mirror is not None:
        chosen_mirrors(config, (mirror,))
    if waiting:
        check_stored(config)
    elif not dry_run:
        tell_if_new(data_dir)
    order = Order(
        renamed=mirror,
        accepts_older=accept_older,
        activates=activate,
        hold_s=config.freshness.retain_s,
    )

    raise SystemExit(
        import_bundles(
            config,
            [Path(one) for one in paths],
            order,
            keyring,
            operator(),
            ignores_signatures=ignore_signature,
            is_rehearsal=dry_run,
            as_json=as_json,
        )
    )

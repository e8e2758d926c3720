"""`import`: take what was carried here by hand into the cache."""

from collections.abc import Sequence
from pathlib import Path

import click

from proxy.cli.import_bundles import import_bundles
from proxy.cli.import_options import How, OfBundles, bundle_options, how_options
from proxy.cli.options import (
    GivenPath,
    chosen_mirrors,
    config_option,
    load,
    option_once,
    stored_data_dir_option,
    tell_if_new,
)
from proxy.cli.running import check_stored
from proxy.cli.who import operator
from proxy.config.config import Config
from proxy.jobs.importing.importing import Order


@click.command("import", short_help="Take in what was carried here by hand.")
@config_option
@stored_data_dir_option
@click.argument("paths", nargs=-1, type=GivenPath(path_type=str, allow_dash=True), metavar="PATH...")
@option_once(
    "--tree",
    type=GivenPath(path_type=str),
    metavar="DIR|URL",
    help="Take what sstream-mirror, rsync or wget left there; [MIRROR] [FILTER]... follow.",
)
@click.option(
    "--mirror",
    metavar="NAME",
    help="The mirror that is meant, whatever the bundle calls it, and no other.",
)
@bundle_options
@how_options
def import_(
    config_file: Path | None,
    data_dir: Path | None,
    paths: tuple[str, ...],
    tree: str | None,
    mirror: str | None,
    of_bundles: OfBundles,
    how: How,
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
    left over is told by kind. A file that is linked is read-only from then on. With --dry-run files
    count as what they are by name and size: none of them is hashed.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 something is missing, 4 something was
    refused; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    if tree is None:
        of_bundles.check(paths, how)
    else:
        of_bundles.check_beside_tree()
    if of_bundles.waiting:
        check_stored(config)
    elif not how.dry_run:
        tell_if_new(data_dir)
    if tree is None:
        code = _import_bundles(config, paths, mirror, of_bundles, how)
    else:
        from proxy.cli.import_tree import import_tree  # noqa: PLC0415 - late: bundles need nothing of trees

        code = import_tree(config, tree, paths, mirror, operator(), how)
    raise SystemExit(code)


def _import_bundles(
    config: Config, paths: Sequence[str], mirror: str | None, of_bundles: OfBundles, how: How
) -> int:
    """Take bundles, or try again what waits; return the exit code."""
    if mirror is not None:
        chosen_mirrors(config, (mirror,))
    order = Order(
        renamed=mirror,
        accepts_older=how.accept_older,
        activates=how.activate,
        hold_s=config.freshness.retain_s,
    )
    return import_bundles(
        config,
        [Path(one) for one in paths],
        order,
        of_bundles.keyring,
        operator(),
        ignores_signatures=of_bundles.ignore_signature,
        is_rehearsal=how.dry_run,
        as_json=how.as_json,
    )

"""`import`: take what was carried here by hand into the cache."""

import getpass
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import click

from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveRefused, MediumFault
from proxy.bundles.reading.finding import Findings
from proxy.bundles.reading.heads import NoBundle
from proxy.bundles.reading.layouts import Layout
from proxy.cli.import_tree import import_tree
from proxy.cli.options import (
    GivenPath,
    UsageFault,
    chosen_mirrors,
    config_option,
    data_dir_option,
    load,
    option_once,
)
from proxy.cli.running import COMPLETE, PARTIAL, REFUSED, run_as_owner
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.config.keyrings import HOMES
from proxy.jobs.audit import BY_COMMAND, audit_file, write_down
from proxy.jobs.importing.importing import Importing, Order
from proxy.jobs.importing.outcomes import Report
from proxy.jobs.importing.telling import audited, event, lines
from proxy.jobs.importing.trust import Operators
from proxy.progress import Unwatched
from proxy.runtime import open_runtime
from proxy.signatures.keyring import Keyring
from proxy.sources.carried.carrier import Carrier


@click.command("import", short_help="Take in what was carried here by hand.")
@config_option
@data_dir_option
@click.argument("paths", nargs=-1, type=GivenPath(path_type=str), metavar="PATH...")
@option_once(
    "--tree",
    metavar="DIR|URL",
    help="Take what sstream-mirror, rsync or wget left there; [MIRROR] [FILTER]... follow.",
)
@click.option("--mirror", metavar="NAME", help="The mirror that is meant, whatever the bundle calls it.")
@click.option("--activate", is_flag=True, help="Serve what is imported although items of it are missing.")
@click.option("--accept-older", is_flag=True, help="This once, let what is older replace what is served.")
@click.option(
    "--keyring",
    type=GivenPath(path_type=Path, exists=True, dir_okay=False),
    help="The operators whose signatures count here. [bundles] keyring",
)
@click.option("--ignore-signature", is_flag=True, help="Where upstream's signatures decide, need no other.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: progress, and a summary.")
def import_(
    config_file: Path | None,
    data_dir: Path | None,
    paths: tuple[str, ...],
    tree: str | None,
    mirror: str | None,
    *,
    activate: bool,
    accept_older: bool,
    keyring: Path | None,
    ignore_signature: bool,
    as_json: bool,
) -> None:
    """Take bundles that `export` wrote into the cache: folders, tar archives, and parts of them.

    \b
      sstream-proxy import /media/usb
      sstream-proxy import images-1of3.tar images-2of3.tar
      sstream-proxy import --mirror maas-stable /media/dvd
      sstream-proxy import --tree /var/www/html/maas 'release=noble'

    A folder may be a bundle, or have bundles in it. Lists are verified by the mirror's
    keyring as if they were fetched, images by the signed lists. Parts and bundles may come
    in any order, and again: a generation is served as a whole once all that it names is here,
    and kept until then. It works beside a running server, which serves it at once, and offline.

    --tree takes a tree that sstream-mirror, rsync or wget left: signed lists first, then every
    file that they want, wherever it lies, cloned or linked where that is safe, else copied. What is
    left over is told by kind. A file that is linked is read-only from then on.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 something is missing, 4 something was
    refused; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    if tree is not None:
        if keyring is not None or ignore_signature:
            raise UsageFault("--keyring and --ignore-signature are for bundles: a tree has no such signature")
        raise SystemExit(
            import_tree(
                config,
                tree,
                paths,
                mirror,
                _user(),
                activate=activate,
                accept_older=accept_older,
                as_json=as_json,
            )
        )
    if not paths:
        raise UsageFault("say what is to be taken: bundles that export wrote, or --tree DIR")
    if mirror is not None:
        chosen_mirrors(config, (mirror,))
    order = Order(
        renamed=mirror,
        accepts_older=accept_older,
        activates=activate,
        hold_s=config.freshness.retain_s,
    )

    async def work() -> int:
        carriers = {one.name: Carrier() for one in config.mirrors}
        with ExitStack() as stack:
            findings = Findings()
            stack.callback(findings.close)
            async with open_runtime(config, carried=carriers) as cache:
                operators = await cache.storage.threads.slow(_operators, config, keyring, ignore_signature)
                importing = Importing(cache, carriers, operators, order, Unwatched())
                layouts = await cache.storage.threads.slow(
                    _find, findings, [Path(one) for one in paths], importing.report
                )
                try:
                    await importing.take(layouts)
                finally:
                    for line in audited(importing.report, _user(), time.time()):
                        await cache.storage.threads.disk(write_down, audit_file(config.data_dir), line)
            return _told(importing.report, as_json=as_json)

    raise SystemExit(run_as_owner(config, work, "what has arrived is kept, the next run goes on from there"))


def _find(findings: Findings, paths: Sequence[Path], report: Report) -> Sequence[Layout]:
    """Return what there is at some paths; what is wrong with one stops no other. Blocks."""
    for path in paths:
        try:
            findings.add(path)
        except (NoBundle, ArchiveRefused, LayoutUnreadable) as error:
            report.problems.append((str(path), str(error)))
        except MediumFault as error:
            report.cut.append((str(path), str(error)))
    report.problems += [(where, str(error)) for where, error in findings.problems]
    return findings.layouts


def _operators(config: Config, keyring: Path | None, ignores_signatures: bool) -> Operators:
    """Return whom this site believes. Blocks; raises what `Keyring.open` raises."""
    path = keyring or config.bundles.keyring
    return Operators(
        keyring=None if path is None else Keyring.open(path, config.data_dir / HOMES),
        trusts={one.name: one.trust for one in config.mirrors},
        ignores_signatures=ignores_signatures,
    )


def _told(report: Report, *, as_json: bool) -> int:
    """Tell what came of it; return the exit code."""
    code = REFUSED if report.is_refused else PARTIAL if report.is_incomplete else COMPLETE
    if as_json:
        tell(event(report, code))
    else:
        for line in lines(report):
            click.echo(line)
    return code


def _user() -> str:
    """Return who runs this, as audit.log names them."""
    try:
        return f"{BY_COMMAND}{getpass.getuser()}"
    except (KeyError, OSError):
        return f"{BY_COMMAND}{os.getuid()}"

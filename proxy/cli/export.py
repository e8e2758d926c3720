"""`export`: write a selection to a folder, to tar files or through a pipe, to be carried to another site."""

import os
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import click

from proxy import bundles
from proxy.bundles.bundle import Sign
from proxy.bundles.packing import LEAST_PART_BYTES, PRESETS, DoesNotFit
from proxy.bundles.signing import Signer
from proxy.cli.export_output import ExportOutput
from proxy.cli.export_places import PIPE, STANDARD_OUTPUT
from proxy.cli.going_on import go_on_text
from proxy.cli.known import earlier_bundle, known_there
from proxy.cli.lock_files import LockInput, lock_option
from proxy.cli.options import (
    Asked,
    GivenPath,
    UsageFault,
    config_option,
    data_dir_option,
    load,
    option_once,
    selection_options,
)
from proxy.cli.progress import open_progress
from proxy.cli.root_writer import open_places
from proxy.cli.running import COMPLETE, PARTIAL, run_with_cache
from proxy.cli.selecting import (
    Select,
    selected_by,
    selected_by_lock,
    selected_by_recording,
)
from proxy.config.config import Config
from proxy.config.quantities import parse_size
from proxy.jobs.exporting.export import Export
from proxy.jobs.exporting.recipes import LikeEarlier, NoSuchPart, OfSelection, Recipe
from proxy.progress import Unwatched
from proxy.readable import printable, size
from proxy.service.cache import Cache

_OTHER_ARCHIVES = (".gz", ".tgz", ".xz", ".txz", ".zst", ".bz2", ".zip", ".7z", ".iso", ".img")
"""Names by which nobody means a folder, and by which export would write one."""


class PartSize(click.ParamType[int]):
    """A size, or what parts are carried on."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return bytes."""
        if isinstance(value, int):
            return value
        try:
            found = PRESETS.get(value.lower()) or parse_size(int(value) if value.isdecimal() else value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}; or one of: {', '.join(PRESETS)}", param, ctx)
        if found < LEAST_PART_BYTES:
            self.fail(f"{value!r} is less than {size(LEAST_PART_BYTES)}", param, ctx)
        return found


@click.command(short_help="Write a selection to be carried to another site.")
@config_option
@data_dir_option
@selection_options
@option_once("--rule", metavar="NAME", help="What this [[prefetch]] rule selects, instead of filters.")
@option_once("--record", metavar="NAME", help="What this recording has taken, instead of filters.")
@lock_option("What this lockfile names, instead of filters.")
@option_once(
    "--to",
    metavar="PATH",
    type=GivenPath(path_type=Path, allow_dash=True),
    help="A folder; a tar file, if it ends in .tar; or - for a tar to standard output.",
)
@option_once(
    "--part-size", metavar="SIZE", type=PartSize(), help="Divide it: most bytes of a part, or fat32, dvd, bd."
)
@option_once("--only-part", metavar="N", type=click.IntRange(1), help="Write this part and no other.")
@option_once("--sign", metavar="KEY", help="Sign it by this key of yours, as mirrors with trust = tls need.")
@click.option(
    "--since",
    "since",
    multiple=True,
    metavar="FILE",
    type=GivenPath(path_type=Path),
    help="Leave out what this inventory or earlier bundle has; may be given several times.",
)
@option_once(
    "--like",
    metavar="BUNDLE",
    type=GivenPath(path_type=Path),
    help="Make the parts of this bundle again, of which some part is here, or with --only-part one of them.",
)
@click.option("--incomplete", is_flag=True, help="Write what is here, though some of the selection is not.")
@option_once(
    "--tree",
    metavar="DIR",
    type=GivenPath(path_type=Path),
    help="Write a static tree for a web server instead of a bundle.",
)
@click.option(
    "--delete", is_flag=True, help="With --tree: remove what earlier exports wrote there and this not."
)
@click.option("--copy", is_flag=True, help="Make no hard links: copies, also on the same file system.")
@click.option("--dry-run", is_flag=True, help="Tell bytes, parts and what is not here, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: plan, summary.")
def export(
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    rule: str | None,
    record: str | None,
    lock: LockInput | None,
    to: Path | None,
    part_size: int | None,
    only_part: int | None,
    sign: str | None,
    since: tuple[Path, ...],
    like: Path | None,
    incomplete: bool,
    tree: Path | None,
    delete: bool,
    copy: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write what the FILTERs select to a bundle: lists with their signatures, and items.

    A FILTER without = or ~ names a mirror. Without any filter, all that is here is selected.

    \b
      sstream-proxy export --maas noble --arch amd64 --to /media/stick/images
      sstream-proxy export maas-stable --to images.tar --part-size dvd
      sstream-proxy export --lock lab.lock --to /media/stick/lab
      sstream-proxy export --rule lab --to - | ssh elsewhere sstream-proxy import -
      sstream-proxy export --maas noble --tree /var/www/html/maas
      sstream-proxy export --like images-1of3.tar --only-part 2 --to images.tar

    It works beside a running server, and asks nothing of upstream. Every file is proved before
    anything is written. An interrupted export goes on when the same is run again.

    --tree writes the lists and items as files that Apache or nginx can serve to sstream-mirror, MAAS
    or LXD: each whole, `streams/` last and at one moment, and the next time only what has changed.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 not complete: some of the selection is not
    here; 4 refused: a bundle or tree that is not ours is in the way; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir, offline=True)
    select = _select(config, asked.naming_mirrors(), rule, record, lock)
    if tree is not None:
        from proxy.cli.export_tree import export_tree  # noqa: PLC0415 - late: bundles need nothing of trees

        if any((to, part_size, only_part, incomplete, sign, since, like)):
            raise UsageFault("--tree goes with selections, --delete, --copy, --dry-run and --json only")
        raise SystemExit(
            export_tree(
                config,
                select,
                tree,
                deletes=delete,
                may_link=not copy,
                dry_run=dry_run,
                as_json=as_json,
            )
        )
    if delete:
        raise UsageFault("--delete goes with --tree")
    _check(to, part_size, only_part, like, dry_run=dry_run)
    _check_like(like, asked, rule, record, lock, since, sign, part_size)
    known = known_there(since)
    earlier = None if like is None else earlier_bundle(like)
    signer = None if sign is None else Signer.of(sign, os.environ)
    output = ExportOutput(as_json=as_json, to_errors=to == PIPE)

    async def recipe(cache: Cache, signing: Sign | None) -> Recipe:
        if earlier is not None:
            return LikeEarlier(earlier)
        selected = await select(cache)
        for warning in selected.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
        return OfSelection(
            contents=selected.contents,
            known=known,
            since=", ".join(one.name for one in since),
            sign=signing,
            importer=importer(),
            part_bytes=part_size,
            allows_missing=incomplete,
        )

    async def rehearse(cache: Cache) -> int:
        survey = await Export(cache, await recipe(cache, signer), only_part, Unwatched()).survey()
        output.survey(survey)
        return PARTIAL if survey.missing else COMPLETE

    if dry_run or to is None:
        raise SystemExit(run_with_cache(config, lambda cache: _divided(rehearse(cache))))
    with open_places(config, to, signer, may_link=not copy) as (destination, signing):

        async def work(cache: Cache) -> int:
            made = await recipe(cache, signing)
            with open_progress("exporting", as_json=as_json, is_stdout_data=to == PIPE) as progress:
                report = await Export(cache, made, only_part, progress).run(destination)
            output.report(report)
            return COMPLETE if report.is_complete else PARTIAL

        code = run_with_cache(config, lambda cache: _divided(work(cache)), if_interrupted=_going_on(to))
    raise SystemExit(code)


def _going_on(to: Path | None) -> str:
    """Return what to say if the export is interrupted."""
    if to == PIPE:
        return go_on_text("nothing is kept of what goes through a pipe", "to send it all, type again")
    return go_on_text("what is written is kept")


async def _divided(work: Awaitable[int]) -> int:
    """Return what work comes to; raises UsageFault for parts that cannot be."""
    try:
        return await work
    except (DoesNotFit, NoSuchPart) as error:
        raise UsageFault(str(error)) from error


def _check_like(like: Path | None, asked: Asked, *others: object) -> None:
    """Raise UsageFault if anything besides an earlier bundle says what is exported."""
    if like is not None and (asked.is_selecting or asked.filters or asked.mirrors or any(others)):
        raise UsageFault("--like says it all but --to and --only-part: leave the rest out")


def importer() -> bytes:
    """Return the program that each bundle carries, for sites that have nothing of ours."""
    return Path(bundles.__file__).with_name("plain_importer.py").read_bytes()


def _select(
    config: Config, asked: Asked, rule: str | None, record: str | None, lock: LockInput | None
) -> Select:
    """Return what selects: filters, a rule, a recording or a lockfile. Raises UsageFault."""
    if sum(one is not None for one in (rule, record, lock)) > 1:
        raise UsageFault("--rule, --record and --lock each say it all: give one of them")
    if lock is not None:
        return selected_by_lock(config, asked, lock)
    if record is not None:
        return selected_by_recording(config, asked, record)
    return selected_by(config, asked, rule)


def _check(
    to: Path | None, part_size: int | None, only_part: int | None, like: Path | None, *, dry_run: bool
) -> None:
    """Raise UsageFault if options do not go together."""
    if to is None and not dry_run:
        raise UsageFault("--to says where to: a folder, a tar file (*.tar), or - for standard output")
    if to is not None and to.name.lower().endswith(_OTHER_ARCHIVES):
        raise UsageFault(f"--to {to}: a bundle is a folder or a tar file that is not packed: name it *.tar")
    if only_part is not None and part_size is None and like is None:
        raise UsageFault("--only-part goes with --like, or with the --part-size that made the other parts")
    if to == PIPE and part_size is not None and only_part is None:
        raise UsageFault("a pipe takes one part: choose it with --only-part, or leave --part-size out")
    if to == PIPE and os.isatty(STANDARD_OUTPUT) and not dry_run:
        raise UsageFault("a terminal is no place for images: send standard output to a file or a program")

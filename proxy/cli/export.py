"""`export`: write a selection to a folder, to tar files or through a pipe, to be carried to another site."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from proxy.bundles.bundle import Part
from proxy.bundles.destination import Destination, DestinationTaken
from proxy.bundles.folder import FolderDestination
from proxy.bundles.packing import LEAST_PART_BYTES, PRESETS
from proxy.bundles.tar import PipeDestination, TarDestination, tar_bytes
from proxy.cli.export_tree import export_tree
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
from proxy.cli.running import COMPLETE, PARTIAL, run_with_cache
from proxy.cli.selecting import naming_mirrors, selected_by
from proxy.config.config import Config
from proxy.config.quantities import parse_size
from proxy.jobs.exporting.export import Export, Order, Report, Survey
from proxy.progress import Unwatched
from proxy.readable import counted, printable, size
from proxy.service.cache import Cache

_PIPE = Path("-")
_TAR = ".tar"
_STANDARD_OUTPUT = 1
_MOST_SHOWN = 20


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
    to: Path | None,
    part_size: int | None,
    only_part: int | None,
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
      sstream-proxy export --rule lab --to - | ssh elsewhere sstream-proxy import -
      sstream-proxy export --maas noble --tree /var/www/html/maas

    It works beside a running server, and asks nothing of upstream. Every file is proved before
    anything is written. An interrupted export goes on when the same is run again.

    --tree writes the lists and items as files that Apache or nginx can serve to sstream-mirror, MAAS
    or LXD: each whole, `streams/` last and at one moment, and the next time only what has changed.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 not complete: some of the selection is not
    here; 4 refused: a folder with files that are not ours; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir, offline=True)
    select = selected_by(config, naming_mirrors(asked), rule)
    if tree is not None:
        if to is not None or part_size is not None or only_part is not None or incomplete:
            raise UsageFault("--tree goes without --to, --part-size, --only-part and --incomplete")
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
    _check(to, part_size, only_part, dry_run=dry_run)
    told = _Told(as_json=as_json, to_errors=to == _PIPE)

    async def work(cache: Cache) -> int:
        selected = await select(cache)
        for warning in selected.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
        order = Order(
            contents=selected.contents,
            part_bytes=part_size,
            only_part=only_part,
            allows_missing=incomplete,
        )
        run = Export(cache, order, Unwatched())
        if dry_run or to is None:
            told.survey(survey := await run.survey())
            return PARTIAL if survey.missing else COMPLETE
        report = await run.run(_destinations(config, to, may_link=not copy))
        told.report(report)
        return COMPLETE if report.is_complete else PARTIAL

    raise SystemExit(run_with_cache(config, work))


def _check(to: Path | None, part_size: int | None, only_part: int | None, *, dry_run: bool) -> None:
    """Raise UsageFault if options do not go together."""
    if to is None and not dry_run:
        raise UsageFault("--to says where to: a folder, a tar file (*.tar), or - for standard output")
    if only_part is not None and part_size is None:
        raise UsageFault("--only-part goes with --part-size, and with the same as the other parts were made")
    if to == _PIPE and part_size is not None and only_part is None:
        raise UsageFault("a pipe takes one part: choose it with --only-part, or leave --part-size out")
    if to == _PIPE and os.isatty(_STANDARD_OUTPUT) and not dry_run:
        raise UsageFault("a terminal is no place for images: send standard output to a file or a program")


def _destinations(config: Config, to: Path, *, may_link: bool) -> Callable[[Part], Destination]:
    """Return what says where each part goes."""

    def destination(part: Part) -> Destination:
        if to == _PIPE:
            os.set_blocking(_STANDARD_OUTPUT, True)
            return PipeDestination(_STANDARD_OUTPUT, part)
        suffix = _TAR if to.name.endswith(_TAR) else ""
        name = to.name.removesuffix(_TAR) if suffix else to.name
        _check_siblings(to.parent, name, suffix, part.of)
        path = to.with_name(part.name(name, suffix))
        if suffix:
            return TarDestination(path, part)
        return FolderDestination(path, part, may_link=may_link, source=config.data_dir)

    return destination


def _check_siblings(folder: Path, name: str, suffix: str, parts: int) -> None:
    """Raise DestinationTaken if there are parts of a bundle with another number of them."""
    form = re.compile(rf"{re.escape(name)}(?:-\d+of(\d+))?{re.escape(suffix)}(?:\.part)?")
    try:
        names = sorted(one.name for one in folder.iterdir())
    except OSError:
        return  # Whoever writes there tells.
    for one in names:
        found = form.fullmatch(one)
        there = int(found[1] or 1) if found else parts
        if there != parts:
            raise DestinationTaken(
                f"{folder / one} is of an earlier bundle of {counted(there, 'part')}, and this one has"
                f" {parts}: remove what is left of that one, or name another place"
            )


class _Told:
    """What a person or a program is told of an export."""

    def __init__(self, *, as_json: bool, to_errors: bool) -> None:
        self._as_json = as_json
        self._to_errors = to_errors

    def survey(self, survey: Survey) -> None:
        """Tell what would be written, and what is not here."""
        parts = survey.parts
        if self._as_json:
            self._tell(
                {
                    "event": "plan",
                    "carried_files": survey.carried_files,
                    "carried_bytes": survey.carried_bytes,
                    "known_files": survey.known_files,
                    "known_bytes": survey.known_bytes,
                    "parts": [{"files": len(one.blobs), "bytes": tar_bytes(one)} for one in parts],
                    "missing": _missing(survey),
                }
            )
            return
        for one in survey.contents:
            self._say(f"{one.mirror}: {one.selection}, generation {one.generation}")
        self._say(
            f"  to be carried   {size(survey.carried_bytes)} in {counted(survey.carried_files, 'file')}"
        )
        if survey.known_files:
            self._say(
                f"  there already   {size(survey.known_bytes)} in {counted(survey.known_files, 'file')}"
            )
        for part in parts:
            self._say(f"  part {part.number} of {part.of:<7} {_amount(tar_bytes(part), len(part.blobs))}")
        self._name_missing(survey)

    def report(self, report: Report) -> None:
        """Tell what was written, and what could not be."""
        if self._as_json:
            self._tell(
                {
                    "event": "summary",
                    "is_written": report.is_written,
                    "parts": report.written,
                    "carried_bytes": report.survey.carried_bytes,
                    "reused_files": report.reused_files,
                    **{f"{way.value}_bytes": count for way, count in report.ways.items()},
                    "missing": _missing(report.survey),
                }
            )
            return
        self._name_missing(report.survey)
        for name in report.written:
            self._say(f"wrote {name}")
        how = [f"{size(count)} {way.value}" for way, count in report.ways.items()]
        if report.reused_files:
            how.append(f"{counted(report.reused_files, 'file')} there already from an earlier run")
        if report.is_written:
            self._say(f"  {', '.join(how) or 'nothing was new'}")

    def _name_missing(self, survey: Survey) -> None:
        for one in survey.missing[:_MOST_SHOWN]:
            self._say(
                printable(f"NOT HERE {one.mirror} {one.file.path} {one.problem} ({size(one.file.size)})")
            )
        if not survey.missing:
            return
        lacking = {one.file.sha256: one.file.size for one in survey.missing}
        more = len(survey.missing) - _MOST_SHOWN
        if more > 0:
            self._say(f"and {more} more")
        what = f"{counted(len(lacking), 'file is', 'files are')} not here, {size(sum(lacking.values()))}"
        click.echo(
            f"not complete: {what}; `prefetch` with the same words fetches what can be had,"
            " --incomplete writes a bundle without",
            err=True,
        )

    def _say(self, text: str) -> None:
        click.echo(text, err=self._to_errors)

    def _tell(self, event: dict[str, Any]) -> None:
        click.echo(json.dumps(event), err=self._to_errors)


def _amount(count: int, files: int) -> str:
    return f"{size(count)} in {counted(files, 'file')}"


def _missing(survey: Survey) -> list[dict[str, Any]]:
    return [
        {"mirror": one.mirror, "path": one.file.path, "bytes": one.file.size, "problem": one.problem}
        for one in survey.missing
    ]

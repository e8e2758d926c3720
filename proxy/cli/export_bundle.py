"""`export --to`: a selection, or parts of an earlier bundle, as folders, tar files or through a pipe."""

import os
from collections.abc import Awaitable
from dataclasses import dataclass
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
from proxy.cli.options import GivenPath, UsageFault, grouped, option_once
from proxy.cli.progress import open_progress
from proxy.cli.root_writer import open_places
from proxy.cli.running import COMPLETE, PARTIAL, Refused, check_stored, run_with_cache
from proxy.cli.selecting import Select
from proxy.config.config import Config
from proxy.config.quantities import parse_size
from proxy.jobs.exporting.export import Export
from proxy.jobs.exporting.recipes import LikeEarlier, NoSuchPart, OfSelection, Recipe
from proxy.progress import Unwatched
from proxy.readable import printable, size
from proxy.service.cache import Cache

_OTHER_ARCHIVES = (".gz", ".tgz", ".xz", ".txz", ".zst", ".bz2", ".zip", ".7z", ".iso", ".img")
"""Names by which nobody means a folder, and by which export would write one."""


class PartSize(click.ParamType):  # type: ignore[type-arg]  # click 8.1's is not generic
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


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """Which bundle is to be written, and where."""

    to: Path | None
    part_size: int | None
    only_part: int | None
    sign: str | None
    since: tuple[Path, ...]
    like: Path | None
    incomplete: bool

    @property
    def are_given(self) -> bool:
        """Whether there is one of them."""
        given = (self.to, self.part_size, self.only_part, self.sign, self.since, self.like, self.incomplete)
        return any(given)

    def check(self, *, dry_run: bool, selects: bool) -> None:
        """Raise UsageFault if they do not go together, or with whether anything else selects."""
        to = self.to
        if to is None and not dry_run:
            raise UsageFault("--to says where to: a folder, a tar file (*.tar), or - for standard output")
        if to is not None and to.name.lower().endswith(_OTHER_ARCHIVES):
            raise UsageFault(
                f"--to {to}: a bundle is a folder or a tar file that is not packed: name it *.tar"
            )
        if self.only_part is not None and self.part_size is None and self.like is None:
            raise UsageFault(
                "--only-part goes with --like, or with the --part-size that made the other parts"
            )
        if to == PIPE and self.part_size is not None and self.only_part is None:
            raise UsageFault("a pipe takes one part: choose it with --only-part, or leave --part-size out")
        if to == PIPE and os.isatty(STANDARD_OUTPUT) and not dry_run:
            raise UsageFault("a terminal is no place for images: send standard output to a file or a program")
        if self.like is not None and (selects or self.since or self.sign or self.part_size):
            raise UsageFault("--like says it all but --to and --only-part: leave the rest out")


bundle_options = grouped(
    "bundle",
    BundleOptions,
    option_once(
        "--to",
        metavar="PATH",
        type=GivenPath(path_type=Path, allow_dash=True),
        help="A folder; a tar file, if it ends in .tar; or - for a tar to standard output.",
    ),
    option_once(
        "--part-size",
        metavar="SIZE",
        type=PartSize(),
        help="Divide it: most bytes of a part, or fat32, dvd, bd.",
    ),
    option_once("--only-part", metavar="N", type=click.IntRange(1), help="Write this part and no other."),
    option_once(
        "--sign", metavar="KEY", help="Sign it by this key of yours, as mirrors with trust = tls need."
    ),
    click.option(
        "--since",
        "since",
        multiple=True,
        metavar="FILE",
        type=GivenPath(path_type=Path),
        help="Leave out what this inventory or earlier bundle has; may be given several times.",
    ),
    option_once(
        "--like",
        metavar="BUNDLE",
        type=GivenPath(path_type=Path),
        help="Make the parts of this bundle again, of which some part is here, "
        "or with --only-part one of them.",
    ),
    click.option(
        "--incomplete", is_flag=True, help="Write what is here, though some of the selection is not."
    ),
)
"""Those of bundles."""


def export_bundle(
    config: Config,
    select: Select,
    options: BundleOptions,
    *,
    may_link: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write what is selected, or parts of an earlier bundle; return the exit code."""
    to, like = options.to, options.like
    known = known_there(options.since)
    earlier = None if like is None else earlier_bundle(like)
    check_stored(config)
    if to is not None and to != PIPE and _is_below(config.data_dir, to):
        raise Refused(f"{to} lies in the data directory {config.data_dir}: name a place outside of it")
    signer = None if options.sign is None else Signer.of(options.sign, os.environ)
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
            since=", ".join(one.name for one in options.since),
            sign=signing,
            importer=importer(),
            part_bytes=options.part_size,
            allows_missing=options.incomplete,
        )

    async def rehearse(cache: Cache) -> int:
        survey = await Export(cache, await recipe(cache, signer), options.only_part, Unwatched()).survey()
        output.survey(survey)
        return PARTIAL if survey.missing else COMPLETE

    if dry_run or to is None:
        return run_with_cache(config, lambda cache: _divided(rehearse(cache)))
    with open_places(config, to, signer, may_link=may_link) as (destination, signing):

        async def work(cache: Cache) -> int:
            made = await recipe(cache, signing)
            with open_progress("exporting", as_json=as_json, is_stdout_data=to == PIPE) as progress:
                report = await Export(cache, made, options.only_part, progress).run(destination)
            output.report(report)
            return COMPLETE if report.is_complete else PARTIAL

        return run_with_cache(config, lambda cache: _divided(work(cache)), if_interrupted=_going_on(to))


def _is_below(folder: Path, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


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


def importer() -> bytes:
    """Return the program that each bundle carries, for sites that have nothing of ours."""
    return Path(bundles.__file__).with_name("plain_importer.py").read_bytes()

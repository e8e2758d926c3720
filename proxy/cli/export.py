"""`export`: write a selection as a bundle, to be carried to another site, or as a static tree."""

from dataclasses import dataclass
from pathlib import Path

import click

from proxy.cli.export_bundle import BundleOptions, bundle_options, export_bundle
from proxy.cli.lock_files import LockInput, lock_option
from proxy.cli.options import (
    Asked,
    GivenPath,
    UsageFault,
    config_option,
    grouped,
    load,
    option_once,
    selection_options,
    stored_data_dir_option,
)
from proxy.cli.selecting import Select, selected_by, selected_by_lock, selected_by_recording
from proxy.config.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class InsteadOfFilters:
    """What selects instead of filters: one of these, or none."""

    rule: str | None
    record: str | None
    lock: LockInput | None

    @property
    def is_given(self) -> bool:
        """Whether there is one."""
        return any((self.rule, self.record, self.lock))

    def select(self, config: Config, asked: Asked) -> Select:
        """Return what selects, which is filters if there is none of these. Raises UsageFault."""
        if sum(one is not None for one in (self.rule, self.record, self.lock)) > 1:
            raise UsageFault("--rule, --record and --lock each say it all: give one of them")
        if self.lock is not None:
            return selected_by_lock(config, asked, self.lock)
        if self.record is not None:
            return selected_by_recording(config, asked, self.record)
        return selected_by(config, asked, self.rule)


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeOptions:
    """Which static tree is to be written."""

    folder: Path | None
    deletes: bool


@click.command(short_help="Write a selection to be carried to another site.")
@config_option
@stored_data_dir_option
@selection_options
@grouped(
    "instead",
    InsteadOfFilters,
    option_once("--rule", metavar="NAME", help="What this [[prefetch]] rule selects, instead of filters."),
    option_once("--record", metavar="NAME", help="What this recording has taken, instead of filters."),
    lock_option("What this lockfile names, instead of filters."),
)
@bundle_options
@grouped(
    "tree",
    TreeOptions,
    option_once(
        "--tree",
        "folder",
        metavar="DIR",
        type=GivenPath(path_type=Path),
        help="Write a static tree for a web server instead of a bundle.",
    ),
    click.option(
        "--delete",
        "deletes",
        is_flag=True,
        help="With --tree: remove what earlier exports wrote there and this not.",
    ),
)
@click.option("--copy", is_flag=True, help="Make no hard links: copies, also on the same file system.")
@click.option("--dry-run", is_flag=True, help="Tell bytes, parts and what is not here, and stop.")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: plan, summary.")
def export(
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    instead: InsteadOfFilters,
    bundle: BundleOptions,
    tree: TreeOptions,
    *,
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
    select = instead.select(config, asked.naming_mirrors())
    if tree.folder is None:
        if tree.deletes:
            raise UsageFault("--delete goes with --tree")
        selects = asked.is_selecting or bool(asked.filters or asked.mirrors) or instead.is_given
        bundle.check(dry_run=dry_run, selects=selects)
        code = export_bundle(config, select, bundle, may_link=not copy, dry_run=dry_run, as_json=as_json)
    else:
        from proxy.cli.export_tree import export_tree  # noqa: PLC0415 - late: bundles need nothing of trees

        if bundle.are_given:
            raise UsageFault("--tree goes with selections, --delete, --copy, --dry-run and --json only")
        code = export_tree(
            config,
            select,
            tree.folder,
            deletes=tree.deletes,
            may_link=not copy,
            dry_run=dry_run,
            as_json=as_json,
        )
    raise SystemExit(code)

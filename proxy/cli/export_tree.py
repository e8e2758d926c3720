"""`export --tree`: a selection as a static tree, for a web server that knows nothing of it."""

from pathlib import Path

import click

from proxy.cli.going_on import go_on_text
from proxy.cli.progress import open_progress
from proxy.cli.running import COMPLETE, PARTIAL, Refused, check_stored, run_with_cache
from proxy.cli.selecting import Select
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.jobs.trees.exporting import TreeExport, TreeOrder, TreeReport, check_folder
from proxy.progress import Unwatched
from proxy.readable import counted, printable, size
from proxy.service.cache import Cache
from proxy.system.same_bytes import Way
from proxy.trees.errors import TreeRefused

_MOST_SHOWN = 20
_WAYS = {Way.LINKED: "linked to the cache's files", Way.CLONED: "cloned", Way.COPIED: "copied"}


def export_tree(
    config: Config,
    select: Select,
    folder: Path,
    *,
    deletes: bool,
    may_link: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Write what is selected as a tree, of several mirrors each below its name; return the exit code."""
    check_stored(config)

    async def work(cache: Cache) -> int:
        check_folder(folder, config.data_dir)
        selected = await select(cache)
        for warning in selected.warnings:
            click.echo(f"warning: {printable(warning)}", err=True)
        is_one = len(selected.contents) == 1
        orders = [
            TreeOrder(
                contents=one,
                folder=folder if is_one else folder / one.mirror,
                deletes=deletes,
                may_link=may_link,
                may_be_link=is_one,
            )
            for one in selected.contents
        ]
        reports = []
        for order in orders:
            if dry_run:
                report = await TreeExport(cache, Unwatched()).look(order)
            else:
                with open_progress("exporting", as_json=as_json) as progress:
                    report = await TreeExport(cache, progress).run(order)
            _show(report, as_json=as_json)
            reports.append(report)
        is_complete = all(not (one.lacking or one.plan.impossible) for one in reports)
        return COMPLETE if is_complete else PARTIAL

    async def refusing(cache: Cache) -> int | Refused:
        try:
            return await work(cache)
        except TreeRefused as error:
            return Refused(str(error))

    code = run_with_cache(config, refusing, if_interrupted=go_on_text("what is in the tree is whole"))
    if isinstance(code, Refused):
        raise code
    return code


def _show(report: TreeReport, *, as_json: bool) -> None:
    if as_json:
        tell(_event(report))
    else:
        for line in _lines(report):
            click.echo(printable(line))
    for problem in _problems(report):
        click.echo(printable(problem), err=True)


def _lines(report: TreeReport) -> list[str]:
    order, plan, contents = report.order, report.plan, report.order.contents
    new = plan.placed
    told = [
        f"{contents.mirror}: {contents.selection}, generation {contents.generation}, in {order.folder}",
        f"  new             {size(plan.placed_bytes)} in {counted(len(new), 'file')}",
        f"  there already   {counted(len(plan.kept) + len(plan.strangers), 'file')}",
    ]
    if report.is_written:
        how = [f"{counted(count, 'file')} {_WAYS[way]}" for way, count in report.ways.items()]
        told += [f"  of the new ones {', '.join(how)}"] if how else []
    if plan.left:
        fate = f"{report.removed} removed" if order.deletes else "--delete removes them"
        told.append(f"  not selected    {counted(len(plan.left), 'file')} of earlier exports ({fate})")
    if report.unselected:
        told.append(
            f"  the lists are upstream's own: they name {counted(report.unselected, 'file')} more, "
            "which this tree does not have"
        )
    return told


def _problems(report: TreeReport) -> list[str]:
    mirror = report.order.contents.mirror
    told = [f"NOT HERE {mirror} {one.path} ({size(one.size_bytes)})" for one in report.lacking[:_MOST_SHOWN]]
    told += [f"NOT POSSIBLE {mirror} {path}: {why}" for path, why in report.plan.impossible.items()]
    told += [f"kept, since somebody has changed it: {report.order.folder / path}" for path in report.changed]
    if report.lacking:
        what = f"{counted(len(report.lacking), 'file is', 'files are')} not here"
        lacking_bytes = sum(one.size_bytes for one in report.lacking)
        told.append(
            f"not complete: {what}, {size(lacking_bytes)}; `prefetch` with the same words fetches what can "
            "be had, and the lists name it already"
        )
    return told


def _event(report: TreeReport) -> dict[str, object]:
    order, plan = report.order, report.plan
    return {
        "event": "tree",
        "mirror": order.contents.mirror,
        "generation": order.contents.generation,
        "folder": str(order.folder),
        "is_written": report.is_written,
        "new_files": len(plan.placed),
        "new_bytes": plan.placed_bytes,
        "kept_files": len(plan.kept) + len(plan.strangers),
        **{f"{way.value}_files": report.ways.get(way, 0) for way in Way},
        "left_files": len(plan.left),
        "removed_files": report.removed,
        "changed": report.changed,
        "unselected_files": report.unselected,
        "missing": [{"path": one.path, "bytes": one.size_bytes} for one in report.lacking],
        "impossible": plan.impossible,
    }

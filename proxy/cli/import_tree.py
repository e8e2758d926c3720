"""`import --tree`: what sstream-mirror, rsync or wget left, or what another server has, as cache content."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from proxy.cli.going_on import go_on_text
from proxy.cli.options import Asked, UsageFault, chosen_mirrors
from proxy.cli.prefetch import fetch_from
from proxy.cli.progress import open_progress
from proxy.cli.running import COMPLETE, PARTIAL, REFUSED, Refused, run_as_owner
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.jobs.audit import Audit
from proxy.jobs.importing.audited import write_down
from proxy.jobs.importing.outcomes import Outcome, State
from proxy.jobs.selection import Selection
from proxy.jobs.trees.folder import TreeFolder
from proxy.jobs.trees.importing import TreeImport, TreeImportOrder
from proxy.jobs.trees.report import TreeImportReport
from proxy.mirror import Mirror, Trust
from proxy.readable import counted, date, printable, size
from proxy.runtime import open_runtime
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.system.same_bytes import Way
from proxy.trees.errors import TreeRefused

_MOST_SHOWN = 5
_MOST_TOLD = 1000
_WAYS = {
    Way.LINKED: "linked, and read-only from now on",
    Way.CLONED: "cloned",
    Way.COPIED: "copied",
}
_STATES = {
    State.SERVED: "is served",
    State.WAITING: "waits until all of it is here (--activate serves it now)",
    State.REPLACED: "waits no longer: something newer is served",
}


def import_tree(
    config: Config,
    tree: str,
    words: tuple[str, ...],
    mirror: str | None,
    by: str,
    *,
    activate: bool,
    accept_older: bool,
    as_json: bool,
) -> int:
    """Take what is in a folder, or at a URL; return the exit code. `by` is who does it, for the audit log."""
    given = Asked(filters=words, mirrors=(mirror,) if mirror else (), newest=None, maas=(), arch=())
    asked = given.naming_mirrors()
    names = chosen_mirrors(config, asked.mirrors)
    if len(names) != 1:
        raise UsageFault(f"a tree is of one mirror, and {len(names)} are named: {', '.join(names)}")
    (meant,) = (one for one in config.mirrors if one.name == names[0])
    selection = asked.selection() if asked.is_selecting else None
    folder = _folder_of(tree)
    if folder is None:
        if meant.trust is Trust.TLS:
            raise UsageFault(f"mirror {meant.name} trusts its own servers alone: add {tree} to its origins")
        return fetch_from(
            config,
            meant.name,
            _root_of(tree),
            selection or Selection(),
            accept_older=accept_older,
            as_json=as_json,
        )
    return _take_folder(
        config, meant, folder, selection, by, activate=activate, accept_older=accept_older, as_json=as_json
    )


def _folder_of(tree: str) -> Path | None:
    """Return the folder that is meant, None for a URL of a server."""
    parts = urlsplit(tree)
    if parts.scheme in {"http", "https"} and parts.netloc:
        return None
    if parts.netloc and parts.scheme != "file":
        raise UsageFault(f"{tree}: a tree is a folder, or at an address with http:// or https://")
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(tree)


def _root_of(url: str) -> str:
    """Return the root of the tree of which a URL names the root, or the index, or a folder between."""
    base = url.rstrip("/")
    for end in ("/index.sjson", "/index.json", "/v1", "/streams"):
        base = base.removesuffix(end)
    return f"{base}/"


def _take_folder(
    config: Config,
    mirror: Mirror,
    path: Path,
    selection: Selection | None,
    by: str,
    *,
    activate: bool,
    accept_older: bool,
    as_json: bool,
) -> int:
    order = TreeImportOrder(
        mirror=mirror.name,
        trust=mirror.trust,
        selection=selection,
        most_document_bytes=config.upstream.document_limit_bytes,
        accepts_older=accept_older,
        activates=activate,
        hold_s=config.freshness.retain_s,
    )

    async def work() -> int | Refused:
        try:
            return await take()
        except TreeRefused as error:
            return Refused(str(error))

    async def take() -> int:
        origins = {one.name: ImportOrigin() for one in config.mirrors}
        folder = TreeFolder(path, config.upstream.stall_timeout_s)
        try:
            async with open_runtime(config, carried=origins) as cache:
                with open_progress("importing", as_json=as_json) as progress:
                    run = TreeImport(cache, origins, folder, order, progress)
                    try:
                        await run.run()
                    finally:
                        audit = Audit(cache.storage.threads, config.data_dir, by)
                        await write_down(audit, run.report.generation, accepts_older=accept_older)
                return _told(run.report, folder, as_json=as_json)
        finally:
            folder.close()

    code = run_as_owner(config, work, go_on_text())
    if isinstance(code, Refused):
        raise code
    return code


def _told(report: TreeImportReport, folder: TreeFolder, *, as_json: bool) -> int:
    """Tell what came of it; return the exit code."""
    is_nothing = not report.ways and not report.held_files
    is_refused = report.generation.is_refused or (report.is_refused and is_nothing)
    code = REFUSED if is_refused else PARTIAL if report.is_incomplete or report.is_refused else COMPLETE
    if as_json:
        tell(_event(report, folder, code))
        return code
    for line in _lines(report):
        click.echo(printable(line))
    for line in _problems(report):
        click.echo(printable(line), err=True)
    return code


def _lines(report: TreeImportReport) -> list[str]:
    told = []
    for outcome in report.generation.outcomes:
        state = "is served now" if outcome.is_new else _STATES.get(outcome.state, outcome.state.value)
        why = f": {outcome.why}" if outcome.why else ""
        told.append(f"{_name(outcome)} {state}{why}")
    how = [f"{counted(count, 'file')} {_WAYS[way]}" for way, count in report.ways.items()]
    told.append(
        f"took {counted(sum(report.ways.values()), 'file')} ({size(report.bytes)})"
        f"{': ' + ', '.join(how) if how else ''}; "
        f"{counted(report.held_files, 'file was', 'files were')} here already"
    )
    for kind, found in report.leftovers.kinds():
        if not kind.is_damage:
            paths = ", ".join(path for path, _ in found[:_MOST_SHOWN])
            told.append(f"  {counted(len(found), 'entry', 'entries')}: {kind.value}: {paths}{_more(found)}")
    return told


def _problems(report: TreeImportReport) -> list[str]:
    told = []
    if report.only_blobs:
        verdict = "REFUSED" if report.is_refused else "not taken"
        told.append(
            f"{verdict} the tree's lists: {report.only_blobs}; of its files only those count that lists name "
            "which were accepted before"
        )
    for kind, found in report.leftovers.kinds():
        if kind.is_damage:
            named = [f"{path} ({why})" if why else path for path, why in found[:_MOST_SHOWN]]
            told.append(f"{counted(len(found), 'file')}: {kind.value}: {', '.join(named)}{_more(found)}")
    missing = {one.path: one.size_bytes for one in report.missing}
    for outcome in report.generation.outcomes:
        missing.update({one.path: one.size for one in outcome.missing})
    told += [f"MISSING {path} ({size(count)})" for path, count in list(missing.items())[:_MOST_SHOWN]]
    if missing:
        total = f"{counted(len(missing), 'file is', 'files are')} missing ({size(sum(missing.values()))})"
        told.append(f"not complete: {total}")
    return told


def _name(outcome: Outcome) -> str:
    of = "an unknown date" if outcome.contents.updated is None else date(outcome.contents.updated)
    return f"{outcome.mirror} of {of} ({outcome.bundle})"


def _more(found: list[tuple[str, str]]) -> str:
    more = len(found) - _MOST_SHOWN
    return f" and {more:,} more" if more > 0 else ""


def _event(report: TreeImportReport, folder: TreeFolder, code: int) -> dict[str, object]:
    return {
        "event": "summary",
        "exit_code": code,
        "folder": str(folder.root),
        "only_blobs": report.only_blobs,
        "generations": [
            {
                "mirror": one.mirror,
                "source": one.bundle,
                "updated": one.contents.updated,
                "state": one.state.value,
                "is_new": one.is_new,
                "why": one.why,
                "missing": [{"path": file.path, "size": file.size} for file in one.missing],
            }
            for one in report.generation.outcomes
        ],
        "taken_files": sum(report.ways.values()),
        "taken_bytes": report.bytes,
        **{f"{way.value}_files": report.ways.get(way, 0) for way in Way},
        "held_files": report.held_files,
        "missing": [{"path": one.path, "size": one.size_bytes} for one in report.missing],
        "leftovers": {
            kind.name.lower(): {
                "count": len(found),
                "paths": [{"path": path, "why": why} for path, why in found[:_MOST_TOLD]],
            }
            for kind, found in report.leftovers.kinds()
        },
    }
